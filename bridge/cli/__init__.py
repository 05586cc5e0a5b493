"""The commands of `headrace`, a module each; they print, and nothing else in the program does."""
