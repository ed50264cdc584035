// What was in use over time: two lines and an area above, the share of the footprint that is not in use below.

import { Tip, element, formatBytes, formatCount, formatMicros, formatShare, formatShort, onWidth, svgElement } from "./format.js";

const MARGIN = { left: 62, right: 12, top: 8 };
const HEIGHT = 230;
const LOWER = { top: 262, height: 60 };

/// Steps of an axis: at most so many, of one, two or five times a power of the base.
function ticks(most, count, base) {
    let step = 1;
    const factors = base === 1024 ? [2, 2, 2, 2, 2, 2, 2, 2, 2, 2] : [2, 2.5, 2];
    for (let number = 0; most / step > count; number++) {
        step *= factors[number % factors.length];
    }
    const found = [];
    for (let value = 0; value <= most; value += step) {
        found.push(value);
    }
    return found;
}

export class TimeChart {
    constructor(host, series) {
        this.host = host;
        this.series = series;
        this.fragmentation = series.bytes.map((bytes, number) => {
            const footprint = series.footprint[number];
            return footprint > 0 ? Math.max(0, 1 - bytes / footprint) : 0;
        });
        this.axis = "event";
        this.marked = null;
        this.picture = svgElement("svg", { role: "img", height: LOWER.top + LOWER.height + 22 });
        host.append(this.picture, element("p", { class: "legend" }, ...[
            ["in use", "live"], ["footprint", "footprint"], ["share of the footprint that is not in use", "fragmentation"],
        ].map(([name, swatch]) => element("span", { style: `--swatch: var(--${swatch})` }, name))));
        this.tip = new Tip(host);
        this.picture.addEventListener("pointermove", (event) => this.#point(event));
        this.picture.addEventListener("pointerleave", () => this.#leave());
        onWidth(host, () => this.draw());
    }

    setAxis(axis) {
        this.axis = axis;
        this.draw();
    }

    /// Marks a moment.
    mark(moment) {
        this.marked = moment;
        this.#drawMarker();
    }

    draw() {
        const { series } = this;
        const width = this.host.clientWidth;
        this.across = series[this.axis];
        this.most = this.across.at(-1) || 1;
        this.highest = Math.max(1, ...series.bytes, ...series.footprint);
        this.inner = Math.max(1, width - MARGIN.left - MARGIN.right);
        const picture = this.picture;
        picture.setAttribute("viewBox", `0 0 ${width} ${picture.getAttribute("height")}`);
        picture.setAttribute("aria-label", this.#summary());
        picture.replaceChildren();
        for (const bytes of ticks(this.highest, 5, 1024)) {
            this.#line("grid", this.#y(bytes));
            this.#label(MARGIN.left - 6, this.#y(bytes) + 4, formatBytes(bytes), "end");
        }
        for (const share of [0, 0.5, 1]) {
            this.#line("grid", this.#lowerY(share));
            this.#label(MARGIN.left - 6, this.#lowerY(share) + 4, formatShare(share), "end");
        }
        const format = this.axis === "event" ? formatShort : formatMicros;
        for (const value of ticks(this.most, Math.max(2, Math.floor(this.inner / 110)), 10)) {
            this.#label(this.#x(value), LOWER.top + LOWER.height + 16, format(value), "middle");
        }
        const live = this.#path(series.bytes, (bytes) => this.#y(bytes));
        const first = this.#x(this.across[0] ?? 0);
        const last = this.#x(this.across.at(-1) ?? 0);
        picture.append(
            svgElement("path", { class: "live-fill", d: `${live}L${last},${this.#y(0)}L${first},${this.#y(0)}Z` }),
            svgElement("path", { class: "footprint", d: this.#path(series.footprint, (bytes) => this.#y(bytes)) }),
            svgElement("path", { class: "live", d: live }),
            svgElement("path", { class: "fragmentation", d: this.#path(this.fragmentation, (share) => this.#lowerY(share)) }),
        );
        this.marker = svgElement("line", { class: "marker", y1: MARGIN.top, y2: LOWER.top + LOWER.height });
        this.cross = svgElement("line", { class: "cross", y1: MARGIN.top, y2: LOWER.top + LOWER.height, visibility: "hidden" });
        picture.append(this.marker, this.cross);
        this.#drawMarker();
    }

    #summary() {
        const { series } = this;
        if (series.bytes.length === 0) {
            return "Nothing happened.";
        }
        return `In use over time: at most ${formatBytes(Math.max(...series.bytes))}, `
            + `${formatBytes(series.bytes.at(-1))} at the end; footprint at most ${formatBytes(Math.max(...series.footprint))}.`;
    }

    #x(value) {
        return MARGIN.left + value / this.most * this.inner;
    }

    #y(bytes) {
        return MARGIN.top + (1 - bytes / this.highest) * HEIGHT;
    }

    #lowerY(share) {
        return LOWER.top + (1 - share) * LOWER.height;
    }

    #path(values, y) {
        const points = values.map((value, number) => `${this.#x(this.across[number]).toFixed(1)},${y(value).toFixed(1)}`);
        return points.length > 0 ? `M${points.join("L")}` : "M0,0";
    }

    #line(name, y) {
        this.picture.append(svgElement("line", { class: name, x1: MARGIN.left, x2: MARGIN.left + this.inner, y1: y, y2: y }));
    }

    #label(x, y, text, anchor) {
        this.picture.append(svgElement("text", { x, y, "text-anchor": anchor }, text));
    }

    #drawMarker() {
        if (!this.marker) {
            return;
        }
        this.marker.setAttribute("visibility", this.marked ? "visible" : "hidden");
        if (this.marked) {
            const x = this.#x(this.marked[this.axis]);
            this.marker.setAttribute("x1", x);
            this.marker.setAttribute("x2", x);
        }
    }

    #point(event) {
        const { series } = this;
        const box = this.picture.getBoundingClientRect();
        const wanted = (event.clientX - box.left - MARGIN.left) / this.inner * this.most;
        let number = this.across.findIndex((value) => value >= wanted);
        number = number < 0 ? this.across.length - 1 : number;
        if (number < 0) {
            return;
        }
        const x = this.#x(this.across[number]);
        this.cross.setAttribute("visibility", "visible");
        this.cross.setAttribute("x1", x);
        this.cross.setAttribute("x2", x);
        this.tip.show(x, event.clientY - box.top, [
            `event ${formatCount(series.event[number])}, after ${formatMicros(series.time[number])}`,
            `in use ${formatBytes(series.bytes[number])} in ${formatCount(series.blocks[number])} blocks`,
            `footprint ${formatBytes(series.footprint[number])}, ${formatShare(this.fragmentation[number])} of it not in use`,
        ].join("\n"));
    }

    #leave() {
        this.cross.setAttribute("visibility", "hidden");
        this.tip.hide();
    }
}
