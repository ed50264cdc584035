// The sections that are tables of call sites, and the stack of one of them.

import { byId, choice, element, formatBytes, formatCount, formatShare, plural } from "./format.js";
import { FlameGraph } from "./flame.js";
import { Table } from "./table.js";

/// What can be shown of who holds the memory: the columns of the data, and in words.
const METRICS = {
    peak: { bytes: "peakBytes", blocks: "peakBlocks", name: "At the peak" },
    end: { bytes: "endBytes", blocks: "endBlocks", name: "At the end" },
    all: { bytes: "bytes", blocks: "blocks", name: "All that was asked for" },
    calls: { bytes: "blocks", blocks: "blocks", name: "Number of requests" },
};

/// From so many blocks on it is worth a thought that each lives for a moment only.
const MANY_BLOCKS = 16;

function range(length) {
    return Array.from({ length }, (_, number) => number);
}

function sum(numbers) {
    return numbers.reduce((total, number) => total + number, 0);
}

/// Who a row of a table is about: remembered, since sorting asks for it often.
export function whoOf(tree, nodes) {
    const known = new Array(nodes.length);
    return (row) => {
        known[row] ??= describeNode(tree, nodes[row]);
        return known[row];
    };
}

function describeNode(tree, node) {
    if (node === 0) {
        return { name: "an unknown call site", place: "" };
    }
    const { itself, called } = tree.responsible(node);
    const way = called === undefined ? "" : `by way of ${tree.functionName(called)}`;
    return { name: tree.functionName(itself), place: [tree.place(itself), way].filter(Boolean).join(" · ") };
}

/// A function that shows a node's stack in the dialog.
export function stackDialog(tree) {
    const dialog = byId("stack");
    byId("stack-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog) {
            dialog.close();
        }
    });
    return (node, text) => {
        const frames = tree.stack(node).map((called) => {
            const made = element("li", tree.origin(called) === 0 ? { class: "own" } : {}, tree.functionName(called));
            made.append(element("small", {}, tree.place(called)));
            return made;
        });
        byId("stack-text").textContent = text;
        byId("stack-frames").replaceChildren(...frames);
        dialog.showModal();
    };
}

export function holdersSection(data, tree, open) {
    const { rows } = data;
    const who = whoOf(tree, rows.node);
    let metric = METRICS.peak;
    let total = 0;
    const bytes = (row) => rows[metric.bytes][row];
    const amount = (value) => (metric === METRICS.calls ? formatCount(value) : formatBytes(value));
    const flame = new FlameGraph(byId("flame"), tree, open);
    const table = new Table(byId("holders-table"), "Who holds the memory", [
        { title: "Amount", value: bytes, format: amount },
        { title: "Share", value: (row) => (total > 0 ? bytes(row) / total : 0), format: formatShare },
        { title: "Blocks", value: (row) => rows[metric.blocks][row], format: formatCount, isMinor: true },
        { title: "Asked in all", value: (row) => rows.bytes[row], format: formatBytes, isMinor: true },
        { title: "Requests", value: (row) => rows.blocks[row], format: formatCount, isMinor: true },
    ], who, (row) => open(rows.node[row], `${amount(bytes(row))} in ${plural(rows[metric.blocks][row], "block")}`));
    const show = (name) => {
        metric = METRICS[name];
        total = sum(rows[metric.bytes]);
        flame.set(tree.sums(rows.node, rows[metric.bytes]), amount);
        table.set(range(rows.node.length).filter((row) => bytes(row) > 0));
    };
    if (data.isSampled) {
        // All of a sample is there at its end.
        byId("holders-metric").remove();
        show("end");
    } else {
        choice(byId("holders-metric"), "What is shown", Object.entries(METRICS).map(([key, { name }]) => [key, name]), show);
        show("peak");
    }
    const filter = (matches) => {
        flame.mark(matches && matches.itself);
        table.filter(matches && ((row) => matches.through[rows.node[row]] === 1));
    };
    return { filter, redraw: () => flame.draw() };
}

export function leaksSection(data, tree, open) {
    const { rows } = data;
    const left = range(rows.node.length).filter((row) => rows.endBlocks[row] > 0);
    const found = left.filter((row) => !tree.isRuntime(rows.node[row]));
    const amountOf = (some) => `${formatBytes(sum(some.map((row) => rows.endBytes[row])))} in `
        + plural(sum(some.map((row) => rows.endBlocks[row])), "block");
    const sentences = [found.length === 0 ? "Nothing: all that was asked for was released."
        : `${amountOf(found)} of ${plural(found.length, "call site")} were not released when the recording ended. What is in `
            + "statics and in other threads is among it; what grows with the work is a leak."];
    if (left.length > found.length) {
        const runtime = left.filter((row) => tree.isRuntime(rows.node[row]));
        sentences.push(`${amountOf(runtime)} that Rust's runtime asked for by itself are left out.`);
    }
    byId("leaks-text").textContent = sentences.join(" ");
    const table = new Table(byId("leaks-table"), "Still there at the end", [
        { title: "Bytes", value: (row) => rows.endBytes[row], format: formatBytes },
        { title: "Blocks", value: (row) => rows.endBlocks[row], format: formatCount },
        { title: "Of its own", value: (row) => rows.endBlocks[row] / rows.blocks[row], format: formatShare, isMinor: true },
        { title: "Requests", value: (row) => rows.blocks[row], format: formatCount, isMinor: true },
    ], whoOf(tree, rows.node), (row) => open(rows.node[row],
        `${formatBytes(rows.endBytes[row])} in ${plural(rows.endBlocks[row], "block")} at the end`));
    table.set(found);
    return { filter: (matches) => table.filter(matches && ((row) => matches.through[rows.node[row]] === 1)) };
}

export function shortSection(data, tree, open) {
    const { rows } = data;
    const found = range(rows.node.length).filter((row) => rows.shortBlocks[row] >= MANY_BLOCKS);
    const blocks = sum(rows.shortBlocks);
    const requests = data.allocations + data.reallocations;
    byId("short-text").textContent = `${plural(blocks, "block")}, ${formatShare(requests > 0 ? blocks / requests : 0)} of all, `
        + `were released by their own thread within ${data.shortLived} of its next events. Where a call site has many, one buffer that is `
        + "kept, or an array on the stack, does without them.";
    const table = new Table(byId("short-table"), "Short-lived allocations", [
        { title: "Blocks", value: (row) => rows.shortBlocks[row], format: formatCount },
        { title: "Of its own", value: (row) => rows.shortBlocks[row] / rows.blocks[row], format: formatShare },
        { title: "Mean size", value: (row) => rows.shortBytes[row] / rows.shortBlocks[row], format: formatBytes, isMinor: true },
    ], whoOf(tree, rows.node), (row) => open(rows.node[row], `${plural(rows.shortBlocks[row], "short-lived block")}`));
    table.set(found);
    return { filter: (matches) => table.filter(matches && ((row) => matches.through[rows.node[row]] === 1)) };
}

export function growthsSection(data, tree, open) {
    const { growths } = data;
    byId("growths-text").textContent = growths.node.length === 0 ? "None grew twice or more by half of its size or more."
        : `${plural(sum(growths.blocks), "block")} grew ${formatCount(sum(growths.steps))} times by half or more, and `
            + `${formatBytes(sum(growths.copied))} were copied on the way. Where the final size is known, `
            + "Vec::with_capacity or reserve does it in one step, and without old and new in memory at once.";
    const table = new Table(byId("growths-table"), "Vectors that grew step by step", [
        { title: "Copied", value: (row) => growths.copied[row], format: formatBytes },
        { title: "Vectors", value: (row) => growths.blocks[row], format: formatCount },
        { title: "Steps each", value: (row) => growths.steps[row] / growths.blocks[row], format: (steps) => steps.toFixed(1), isMinor: true },
        { title: "Mean size", value: (row) => growths.grown[row] / growths.blocks[row], format: formatBytes, isMinor: true },
        { title: "Largest", value: (row) => growths.largest[row], format: formatBytes, isMinor: true },
    ], whoOf(tree, growths.node), (row) => open(growths.node[row],
        `${plural(growths.blocks[row], "block")} grew ${formatCount(growths.steps[row])} times`));
    table.set(range(growths.node.length));
    return { filter: (matches) => table.filter(matches && ((row) => matches.through[growths.node[row]] === 1)) };
}
