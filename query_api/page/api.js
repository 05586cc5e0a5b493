// Questions to the API of this origin: the token, what errors mean, and the server's clock.

import { byId } from "./dom.js";

const TOKEN = "headrace.token"; // in this tab only
const ADVICE = {
  0: "Is the server up, and this machine online? Then try again.",
  400: "Change the search and try again.",
  401: "Give a token that this server knows.",
  403: "Your roles do not open this place or this kind of data. Choose another, or ask for a role.",
  413: "Make the search shorter.",
  429: "Too many questions at once. Wait a moment, then try again.",
  500: "This is a defect of the server. Its log has the request id.",
  503: "The store does not answer now. Data goes on being received; try again in a few seconds.",
  504: "The question took too long. Choose a shorter time or a smaller place, then try again.",
};

/** What went wrong, and what to do. `status` 0: nobody answered. */
export class ApiError extends Error {
  constructor(status, message, requestId = "") {
    super(message);
    this.status = status;
    this.requestId = requestId;
    this.advice = ADVICE[status] ?? (status >= 500 ? ADVICE[500] : ADVICE[400]);
  }
}

let skewMilliseconds = 0;

/** The server's time, unix milliseconds: a wrong clock here must not look in the wrong quarter of an hour. */
export const now = () => Date.now() + skewMilliseconds;

/** The JSON of an answer and what its headers say. `path` is below that of the page. Raises `ApiError`, or an AbortError once `signal` is given up. */
export async function ask(path, body = null, signal = null) {
  for (;;) {
    const response = await send(path, body, signal);
    learnClock(response.headers.get("Date"));
    const requestId = response.headers.get("X-Request-Id") ?? "";
    const answer = await response.json().catch(() => ({}));
    if (response.ok) {
      return {
        ...answer,
        next: response.headers.get("X-Next-Cursor"),
        isCapped: response.headers.get("X-Total-Capped") === "true",
        until: response.headers.get("X-Complete-Until"),
      };
    }
    const told = answer.message ?? answer.detail ?? answer.error ?? `the server answered ${response.status}`;
    if (response.status !== 401 || !(await newToken(told))) throw new ApiError(response.status, told, requestId);
  }
}

async function send(path, body, signal) {
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body) headers["Content-Type"] = "application/json";
  const signals = [AbortSignal.timeout(90_000), ...(signal ? [signal] : [])];
  const options = { headers, cache: "no-store", redirect: "error", signal: AbortSignal.any(signals) };
  try {
    return await fetch(`.${path}`, body ? { ...options, method: "POST", body: JSON.stringify(body) } : options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "No answer from the server.");
  }
}

function learnClock(date) {
  const skew = Date.parse(date ?? "") + 500 - Date.now(); // the header is in whole seconds
  if (Number.isFinite(skew)) skewMilliseconds = Math.abs(skew) > 1500 ? skew : 0;
}

const token = () => sessionStorage.getItem(TOKEN) ?? "";

let asked = null;

/** True once somebody gave a token; several questions that failed at once ask once. */
function newToken(reason) {
  asked ??= askForToken(reason).finally(() => (asked = null));
  return asked;
}

function askForToken(reason) {
  const dialog = byId("token-dialog");
  byId("token-reason").textContent = token() ? `The token was not taken: ${reason}.` : "Reading here needs a token.";
  byId("token").value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
  });
}

/** Wire the dialog once; `onForget` when the token was given up. */
export function openTokens(onForget) {
  const dialog = byId("token-dialog");
  const show = () => (byId("forget").hidden = !token());
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, byId("token").value.trim());
    byId("token").value = "";
    show();
    dialog.close("given");
  });
  dialog.addEventListener("cancel", () => (dialog.returnValue = ""));
  byId("token-cancel").addEventListener("click", () => dialog.close(""));
  byId("forget").addEventListener("click", () => {
    sessionStorage.removeItem(TOKEN);
    show();
    onForget();
  });
  show();
}
