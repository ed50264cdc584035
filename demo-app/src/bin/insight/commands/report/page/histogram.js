// How many there are of each order of magnitude, as columns.

import { Tip, formatBytes, formatShort, onWidth, plural, svgElement } from "./format.js";

const PLOT = { left: 52, right: 4, top: 10, height: 170 };

export class ColumnChart {
    /// `format` writes down where a column begins.
    constructor(host, label, format) {
        this.host = host;
        this.label = label;
        this.format = format;
        this.picture = svgElement("svg", { role: "img", height: PLOT.top + PLOT.height + 24 });
        host.append(this.picture);
        this.tip = new Tip(host);
        this.picture.addEventListener("pointermove", (event) => this.#point(event));
        this.picture.addEventListener("pointerleave", () => this.tip.hide());
        onWidth(host, () => this.draw());
    }

    /// Shows how many "blocks" or "bytes" there are in each bin.
    set(bins, unit) {
        this.bins = bins;
        this.unit = unit;
        this.draw();
    }

    draw() {
        const { bins, picture } = this;
        const width = this.host.clientWidth;
        if (!bins || width === 0) {
            return;
        }
        const values = bins[this.unit];
        const highest = Math.max(1, ...values);
        this.pitch = (width - PLOT.left - PLOT.right) / Math.max(1, values.length);
        picture.setAttribute("viewBox", `0 0 ${width} ${picture.getAttribute("height")}`);
        picture.setAttribute("aria-label", this.#summary(values));
        picture.replaceChildren();
        const amount = this.unit === "bytes" ? formatBytes : formatShort;
        for (const part of [0, 0.5, 1]) {
            const y = PLOT.top + (1 - part) * PLOT.height;
            picture.append(
                svgElement("line", { class: "grid", x1: PLOT.left, x2: width - PLOT.right, y1: y, y2: y }),
                svgElement("text", { x: PLOT.left - 6, y: y + 4, "text-anchor": "end" }, amount(highest * part)),
            );
        }
        const every = Math.ceil(56 / this.pitch);
        values.forEach((value, number) => {
            const x = PLOT.left + number * this.pitch;
            // What is there at all is to be seen.
            const height = value > 0 ? Math.max(1.5, value / highest * PLOT.height) : 0;
            const size = { x: x + this.pitch * 0.08, y: PLOT.top + PLOT.height - height, width: this.pitch * 0.84, height };
            picture.append(svgElement("rect", { class: "column", ...size }));
            if (number % every === 0) {
                const y = PLOT.top + PLOT.height + 16;
                picture.append(svgElement("text", { x: x + this.pitch / 2, y, "text-anchor": "middle" }, this.format(bins.from[number])));
            }
        });
        if (values.length === 0) {
            picture.append(svgElement("text", { x: width / 2, y: PLOT.top + PLOT.height / 2, "text-anchor": "middle" }, "None."));
        }
    }

    #summary(values) {
        const most = values.indexOf(Math.max(...values));
        return values.length === 0 ? `${this.label}: none.`
            : `${this.label}: most are from ${this.format(this.bins.from[most])} on, ${this.#amounts(most)}.`;
    }

    #amounts(number) {
        return `${plural(this.bins.blocks[number], "block")}, ${formatBytes(this.bins.bytes[number])}`;
    }

    #point(event) {
        const box = this.picture.getBoundingClientRect();
        const x = event.clientX - box.left;
        const number = Math.floor((x - PLOT.left) / this.pitch);
        const { from } = this.bins;
        if (!(number in from)) {
            this.tip.hide();
            return;
        }
        const end = number + 1 < from.length ? ` up to ${this.format(from[number + 1])}` : " and more";
        this.tip.show(x, event.clientY - box.top, `${this.format(from[number])}${end}\n${this.#amounts(number)}`);
    }
}
