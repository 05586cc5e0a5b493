// The spans of a trace as a tree. Pure.
//
// Spans are what others sent: parents may be missing, ids doubled, and parents and children of each other. Every span
// becomes exactly one node whatever the graph is.

/** Nodes in the order of display, parents before children, siblings by start: {span, depth, children, note}. A parent
 * that is named but not there is a node without a span. */
export function treeOf(spans) {
  const sorted = [...spans].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.spanId < b.spanId ? -1 : 1));
  const ids = new Set(sorted.map((span) => span.spanId));
  const below = byParent(sorted);
  const placed = new Set();
  const nodes = [];

  const add = (root) => {
    const stack = [root];
    while (stack.length) {
      const node = stack.pop();
      if (node.span && placed.has(node.span)) continue;
      if (node.span) placed.add(node.span);
      node.parent?.children.push(node);
      nodes.push(node);
      const id = node.span ? node.span.spanId : node.missing;
      const children = (id && below.get(id)) || [];
      if (id) below.delete(id); // taken by the first span of a doubled id
      for (let at = children.length - 1; at >= 0; at -= 1) stack.push(nodeOf(children[at], node));
    }
  };

  const missing = [...below.keys()].filter((id) => id && !ids.has(id));
  const roots = [
    ...sorted.filter((span) => !span.parentSpanId).map((span) => nodeOf(span)),
    ...missing.map((id) => ({ ...nodeOf(null), missing: id, note: "parent not here" })),
  ];
  const start = (node) => (node.span ? node.span.start : below.get(node.missing)[0].start);
  roots.map((node) => [start(node), node]).sort((a, b) => (a[0] < b[0] ? -1 : 1)).forEach(([, node]) => add(node));
  for (const span of sorted) {
    if (!placed.has(span)) add({ ...nodeOf(span), note: "its own ancestor" }); // a circle, or a doubled id
  }
  return nodes;
}

const nodeOf = (span, parent = null) => ({ span, parent, depth: parent ? parent.depth + 1 : 0, children: [], note: "", missing: "" });

function byParent(spans) {
  const groups = new Map();
  for (const span of spans) {
    const group = groups.get(span.parentSpanId);
    if (group) group.push(span);
    else groups.set(span.parentSpanId, [span]);
  }
  return groups;
}

/** Those whose ancestors are all open. */
export function unfolded(nodes, closed) {
  const hidden = new Set();
  return nodes.filter((node) => {
    if (node.parent && (hidden.has(node.parent) || closed.has(node.parent))) hidden.add(node);
    return !hidden.has(node);
  });
}
