// A flame graph: who called whom, as wide as what they have, the outermost function on top. Only what is wider than a
// pixel is ever looked at, so that a million stacks draw as fast as a hundred.

import { Tip, colour, element, formatShare, isDark, onWidth } from "./format.js";

const ROW = 20;
const MOST_ROWS = 200;
const UNKNOWN_SITE = "an unknown call site";

/// All nodes with the same function and the same callers, as one.
class Group {
    constructor(caller, nodes, value, name) {
        this.caller = caller;
        this.nodes = nodes;
        this.value = value;
        this.name = name;
        this.depth = caller ? caller.depth + 1 : 0;
        this.children = null;
    }
}

export class FlameGraph {
    constructor(host, tree, open) {
        this.host = host;
        this.tree = tree;
        this.open = open;
        this.matches = null;
        this.canvas = element("canvas", {
            tabindex: 0,
            role: "application",
            "aria-roledescription": "flame graph",
            "aria-label": "Flame graph. Arrow keys go from function to function, Enter makes one as wide as all, Escape goes back, S shows its stack.",
        });
        this.status = element("p", { class: "status", "aria-live": "polite" });
        this.reset = element("button", { type: "button" }, "Whole graph");
        this.reset.addEventListener("click", () => this.zoom(this.root));
        this.scroll = element("div", { class: "scroll" }, this.canvas);
        const legend = [["the program", 0], ["its dependencies", 1], ["Rust's library", 2], ["the system, or unknown", 3]].map(([name, origin]) => {
            const swatch = element("span", {}, name);
            swatch.dataset.origin = origin;
            return swatch;
        });
        this.legend = element("p", { class: "legend" }, ...legend);
        host.append(element("div", { class: "head" }, this.legend, this.reset), this.status, this.scroll);
        this.tip = new Tip(host);
        this.canvas.addEventListener("pointermove", (event) => this.#hover(event));
        this.canvas.addEventListener("pointerleave", () => this.tip.hide());
        this.canvas.addEventListener("click", (event) => this.#click(event));
        this.canvas.addEventListener("keydown", (event) => this.#key(event));
        this.canvas.addEventListener("focus", () => this.draw());
        this.canvas.addEventListener("blur", () => this.draw());
        onWidth(host, () => this.draw());
    }

    /// Shows sums for all nodes, in a unit.
    set(sums, format) {
        this.sums = sums;
        this.format = format;
        this.root = new Group(null, [0], sums[0], "all");
        this.zoom(this.root);
    }

    /// Marks the nodes for which there is a one; null marks none.
    mark(matches) {
        this.matches = matches;
        this.draw();
    }

    zoom(group) {
        this.zoomed = group;
        this.focused = group;
        this.reset.disabled = group === this.root;
        this.#tell();
        this.draw();
    }

    /// What the nodes of a group call, the widest first.
    #childrenOf(group) {
        if (group.children) {
            return group.children;
        }
        const byFunction = new Map();
        let left = group.value;
        const { tree, sums } = this;
        for (const node of group.nodes) {
            for (let place = tree.first[node]; place < tree.first[node + 1]; place++) {
                const called = tree.called[place];
                if (sums[called] > 0) {
                    const name = tree.functionOf(called);
                    const found = byFunction.get(name);
                    left -= sums[called];
                    if (found) {
                        found.nodes.push(called);
                        found.value += sums[called];
                    } else {
                        byFunction.set(name, new Group(group, [called], sums[called], tree.texts[name]));
                    }
                }
            }
        }
        group.children = [...byFunction.values()];
        if (group === this.root && left > 0) {
            group.children.push(new Group(group, [], left, UNKNOWN_SITE));
        }
        group.children.sort((one, other) => other.value - one.value);
        return group.children;
    }

    draw() {
        if (!this.root || this.isDrawing) {
            return;
        }
        this.isDrawing = true;
        requestAnimationFrame(() => {
            this.isDrawing = false;
            this.#drawNow();
        });
    }

    #drawNow() {
        const width = this.host.clientWidth;
        if (width === 0) {
            return;
        }
        this.boxes = [];
        for (let group = this.zoomed; group; group = group.caller) {
            this.boxes.push({ group, x: 0, width });
        }
        this.boxes.reverse();
        this.#place(this.zoomed, 0, width);
        const rows = 1 + this.boxes.reduce((most, box) => Math.max(most, box.group.depth), 0);
        const ratio = window.devicePixelRatio || 1;
        this.canvas.width = Math.round(width * ratio);
        this.canvas.height = Math.round(rows * ROW * ratio);
        this.canvas.style.height = `${rows * ROW}px`;
        const context = this.canvas.getContext("2d");
        context.scale(ratio, ratio);
        context.font = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
        context.textBaseline = "middle";
        this.letter = context.measureText("m").width;
        this.colours = { card: colour("card"), text: colour("text"), hit: colour("hit"), accent: colour("accent") };
        for (const swatch of this.legend.children) {
            swatch.style.setProperty("--swatch", this.#fill(Number(swatch.dataset.origin), 0.5));
        }
        this.boxes.forEach((box) => this.#drawBox(context, box));
    }

    /// Adds boxes for what a group calls.
    #place(group, x, width) {
        if (group.depth + 1 >= MOST_ROWS) {
            return;
        }
        for (const child of this.#childrenOf(group)) {
            const wide = child.value / group.value * width;
            if (wide < 1) {
                // The widest are first.
                return;
            }
            this.boxes.push({ group: child, x, width: wide });
            this.#place(child, x, wide);
            x += wide;
        }
    }

    #fill(origin, variation) {
        const hues = [24 + 16 * variation, 172, 214, 0];
        const saturation = [78, 42, 34, 0][origin];
        const lightness = isDark() ? 30 + 7 * variation : 73 + 9 * variation;
        return `hsl(${hues[origin]} ${saturation}% ${lightness}%)`;
    }

    #drawBox(context, { group, x, width }) {
        const y = group.depth * ROW;
        const node = group.nodes[0];
        const origin = node ? this.tree.origin(node) : 3;
        const isHit = this.matches && group.nodes.some((candidate) => this.matches[candidate]);
        context.fillStyle = isHit ? this.colours.hit : this.#fill(origin, variationOf(group.name));
        context.fillRect(x, y, Math.max(0.6, width - 0.8), ROW - 1);
        if (group === this.focused && document.activeElement === this.canvas) {
            context.strokeStyle = this.colours.text;
            context.lineWidth = 2;
            context.strokeRect(x + 1, y + 1, Math.max(1, width - 2.8), ROW - 3);
        }
        const letters = Math.floor((width - 8) / this.letter);
        if (letters >= 3) {
            const name = group === this.root ? `all, ${this.format(group.value)}` : group.name;
            context.fillStyle = isHit ? "#1d1f22" : this.colours.text;
            context.fillText(name.length > letters ? `${name.slice(0, letters - 1)}…` : name, x + 4, y + ROW / 2);
        }
    }

    #describe(group) {
        const share = formatShare(this.root.value > 0 ? group.value / this.root.value : 0);
        return `${group.name}: ${this.format(group.value)}, ${share}`;
    }

    #tell() {
        this.status.textContent = this.#describe(this.focused);
    }

    #at(event) {
        const box = this.canvas.getBoundingClientRect();
        const depth = Math.floor((event.clientY - box.top) / ROW);
        const x = event.clientX - box.left;
        return this.boxes?.find((found) => found.group.depth === depth && x >= found.x && x < found.x + found.width)?.group;
    }

    #hover(event) {
        const group = this.#at(event);
        this.canvas.style.cursor = group ? "pointer" : "default";
        if (!group) {
            this.tip.hide();
            return;
        }
        const box = this.host.getBoundingClientRect();
        const place = group.nodes[0] ? this.tree.place(group.nodes[0]) : "";
        const text = place ? `${this.#describe(group)}\n${place}` : this.#describe(group);
        this.tip.show(event.clientX - box.left, event.clientY - box.top, text);
    }

    #click(event) {
        const group = this.#at(event);
        if (group) {
            this.zoom(group);
        }
    }

    #key(event) {
        const siblings = this.focused.caller ? this.#childrenOf(this.focused.caller) : [this.focused];
        const place = siblings.indexOf(this.focused);
        const to = {
            ArrowUp: this.focused.caller,
            ArrowDown: this.#childrenOf(this.focused)[0],
            ArrowLeft: siblings[place - 1],
            ArrowRight: siblings[place + 1],
        };
        if (event.key === "Enter") {
            this.zoom(this.focused);
        } else if (event.key === "Escape" && this.zoomed !== this.root) {
            this.zoom(this.zoomed.caller);
        } else if (event.key === "s" && this.focused.nodes[0]) {
            this.open(this.focused.nodes[0], this.#describe(this.focused));
        } else if (event.key in to) {
            this.#focus(to[event.key]);
        } else {
            return;
        }
        event.preventDefault();
        event.stopPropagation();
    }

    #focus(group) {
        if (!group) {
            return;
        }
        this.focused = group;
        // What is not drawn is drawn from the one on that calls it.
        const isShown = this.boxes?.some((box) => box.group === group);
        if (!isShown) {
            this.zoomed = group.caller ?? group;
            this.reset.disabled = this.zoomed === this.root;
        }
        const [top, bottom] = [group.depth * ROW, (group.depth + 1) * ROW];
        if (top < this.scroll.scrollTop || bottom > this.scroll.scrollTop + this.scroll.clientHeight) {
            this.scroll.scrollTop = top - this.scroll.clientHeight / 2;
        }
        this.#tell();
        this.draw();
    }
}

/// A number from 0 to 1 that is always the same for a name: neighbours differ a little.
function variationOf(name) {
    let hash = 0;
    for (let place = 0; place < name.length; place++) {
        hash = (hash * 31 + name.charCodeAt(place)) | 0;
    }
    return (hash >>> 0) % 64 / 63;
}
