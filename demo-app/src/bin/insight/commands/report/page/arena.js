// The arena at a moment: a cell for each piece of it, the stronger its colour the fuller, with the largest hole in a frame.

import { Tip, colour, element, facts, formatBytes, formatCount, formatMicros, formatShare, isDark, onWidth, plural } from "./format.js";

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FULL = DIGITS.length - 1;

/// For each level of a cell its colour.
function scale() {
    const [light, dark] = isDark() ? [[42, 66, 104], [142, 190, 255]] : [[200, 218, 242], [16, 62, 128]];
    return Array.from(DIGITS, (_, level) => {
        if (level === 0) {
            return colour("sunken");
        }
        const mixed = light.map((from, channel) => Math.round(from + (dark[channel] - from) * level / FULL));
        return `rgb(${mixed.join(" ")})`;
    });
}

export class ArenaMap {
    constructor(parts, arena, peak, changed) {
        this.parts = parts;
        this.arena = arena;
        this.changed = changed;
        this.levels = arena.snapshots.map((snapshot) => Array.from(snapshot.cells, (digit) => DIGITS.indexOf(digit)));
        this.canvas = element("canvas", { role: "img" });
        parts.map.append(this.canvas);
        this.tip = new Tip(parts.map);
        const last = arena.snapshots.length - 1;
        const highest = Math.max(0, arena.snapshots.findIndex((snapshot) => snapshot.event === peak.event));
        parts.slider.max = last;
        parts.slider.addEventListener("input", () => this.show(parts.slider.valueAsNumber));
        parts.peak.addEventListener("click", () => this.show(highest));
        parts.end.addEventListener("click", () => this.show(last));
        this.#explain();
        this.canvas.addEventListener("pointermove", (event) => this.#point(event));
        this.canvas.addEventListener("pointerleave", () => this.tip.hide());
        this.shown = highest;
        onWidth(parts.map, () => this.draw());
        this.show(highest);
    }

    #explain() {
        const { arena } = this;
        const legend = [
            element("span", { style: "--swatch: var(--live)" }, `each cell is ${formatBytes(arena.cell)}, the stronger the fuller`),
            element("span", { style: "--swatch: var(--hole)" }, "the largest hole"),
        ];
        if (arena.spans.length > 1) {
            const text = `addresses that nobody used are left out, in ${plural(arena.spans.length - 1, "place")}`;
            legend.push(element("span", { style: "--swatch: var(--footprint)" }, text));
        }
        this.parts.legend.replaceChildren(...legend);
    }

    /// Shows a snapshot.
    show(number) {
        const snapshot = this.arena.snapshots[number];
        this.shown = number;
        this.parts.slider.value = number;
        const moment = `Event ${formatCount(snapshot.event)}, after ${formatMicros(snapshot.time)}`;
        this.parts.moment.textContent = moment;
        const inUse = `${formatBytes(snapshot.bytes)} in use`;
        this.parts.slider.setAttribute("aria-valuetext", `${moment}: ${inUse}`);
        const fragmentation = snapshot.free > 0 ? 1 - snapshot.largest / snapshot.free : 0;
        facts(this.parts.facts, [
            ["In use", formatBytes(snapshot.bytes), plural(snapshot.blocks, "block")],
            ["From the lowest to the highest", formatBytes(snapshot.extent)],
            ["Headers and rounding", formatBytes(snapshot.overhead), "gaps of less than 32 bytes"],
            ["Free in between", formatBytes(snapshot.free), `in ${plural(snapshot.holes, "hole")}`],
            ["Largest hole", formatBytes(snapshot.largest)],
            ["Fragmentation", formatShare(fragmentation), "of what is free is outside of the largest hole"],
        ]);
        this.canvas.setAttribute("aria-label", `Map of ${formatBytes(this.arena.bytes)} in cells of `
            + `${formatBytes(this.arena.cell)}. ${inUse}, ${plural(snapshot.holes, "hole")}.`);
        this.changed(snapshot);
        this.draw();
    }

    draw() {
        const cells = this.levels[this.shown];
        const width = this.parts.map.clientWidth;
        if (!cells || width === 0) {
            return;
        }
        this.columns = Math.min(cells.length, width >= 900 ? 128 : 64);
        this.pitch = Math.min(24, width / this.columns);
        const rows = Math.ceil(cells.length / this.columns);
        const height = rows * this.pitch;
        const ratio = window.devicePixelRatio || 1;
        this.canvas.width = Math.round(width * ratio);
        this.canvas.height = Math.round(height * ratio);
        this.canvas.style.height = `${height}px`;
        const context = this.canvas.getContext("2d");
        context.scale(ratio, ratio);
        const colours = scale();
        const side = this.pitch - (this.pitch > 5 ? 1 : 0.5);
        cells.forEach((level, cell) => {
            context.fillStyle = colours[level];
            context.fillRect(cell % this.columns * this.pitch, Math.floor(cell / this.columns) * this.pitch, side, side);
        });
        this.#frameLargestHole(context, cells.length);
        this.#separateSpans(context);
    }

    /// Draws around the cells of the largest hole, row by row.
    #frameLargestHole(context, count) {
        const { largest, largestAt } = this.arena.snapshots[this.shown];
        if (largest < this.arena.cell) {
            return;
        }
        const first = Math.floor(largestAt / this.arena.cell);
        const last = Math.min(count - 1, Math.ceil((largestAt + largest) / this.arena.cell) - 1);
        const isIn = (cell) => cell >= first && cell <= last;
        context.strokeStyle = colour("hole");
        context.lineWidth = 1.5;
        context.beginPath();
        for (let cell = first; cell <= last; cell++) {
            const column = cell % this.columns;
            const [x, y] = [column * this.pitch, Math.floor(cell / this.columns) * this.pitch];
            const [right, below] = [x + this.pitch - 0.5, y + this.pitch - 0.5];
            const edges = [
                [!isIn(cell - this.columns), x, y, right, y],
                [!isIn(cell + this.columns), x, below, right, below],
                [column === 0 || !isIn(cell - 1), x, y, x, below],
                [column === this.columns - 1 || !isIn(cell + 1), right, y, right, below],
            ];
            for (const [isEdge, x1, y1, x2, y2] of edges) {
                if (isEdge) {
                    context.moveTo(x1, y1);
                    context.lineTo(x2, y2);
                }
            }
        }
        context.stroke();
    }

    /// Draws a line where addresses are left out.
    #separateSpans(context) {
        context.fillStyle = colour("footprint");
        for (const span of this.arena.spans.slice(1)) {
            const cell = Math.floor(span.place / this.arena.cell);
            const [x, y] = [cell % this.columns * this.pitch, Math.floor(cell / this.columns) * this.pitch];
            context.fillRect(Math.max(0, x - 1), y, 2, this.pitch);
        }
    }

    #point(event) {
        const box = this.canvas.getBoundingClientRect();
        const [x, y] = [event.clientX - box.left, event.clientY - box.top];
        const column = Math.floor(x / this.pitch);
        const cell = Math.floor(y / this.pitch) * this.columns + column;
        const level = this.levels[this.shown][cell];
        if (column >= this.columns || level === undefined) {
            this.tip.hide();
            return;
        }
        const place = cell * this.arena.cell;
        const span = this.arena.spans.findLast((candidate) => candidate.place <= place);
        const address = BigInt(span.start) + BigInt(place - span.place);
        const share = level === 0 ? "nothing" : level === FULL ? "all" : `about ${formatShare(level / FULL)}`;
        this.tip.show(x, y, `0x${address.toString(16)}, ${formatBytes(this.arena.cell)}: ${share} of it in use`);
    }
}
