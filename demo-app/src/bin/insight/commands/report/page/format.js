// Numbers and elements as the page shows them.

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
const wholeNumbers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/// A number with a separator between thousands.
export function formatCount(number) {
    return wholeNumbers.format(number);
}

/// Three digits, without zeroes that say nothing.
function threeDigits(number) {
    return number >= 100 || Number.isInteger(number) ? wholeNumbers.format(number) : String(Number(number.toPrecision(3)));
}

export function formatBytes(bytes) {
    let unit = 0;
    while (bytes >= 1024 && unit < UNITS.length - 1) {
        bytes /= 1024;
        unit += 1;
    }
    return unit === 0 && bytes === 1 ? "1 byte" : `${threeDigits(bytes)} ${UNITS[unit]}`;
}

/// A part of one, in percent.
export function formatShare(share) {
    const percent = 100 * share;
    if (percent > 0 && percent < 0.1) {
        return "< 0.1 %";
    }
    return `${percent < 10 ? Number(percent.toFixed(1)) : Math.round(percent)} %`;
}

export function formatMicros(micros) {
    if (micros < 1000) {
        return `${threeDigits(micros)} µs`;
    }
    if (micros < 1e6) {
        return `${threeDigits(micros / 1000)} ms`;
    }
    if (micros < 120e6) {
        return `${threeDigits(micros / 1e6)} s`;
    }
    return micros < 7200e6 ? `${threeDigits(micros / 60e6)} min` : `${threeDigits(micros / 3600e6)} h`;
}

/// A large count in few characters, for axes.
export function formatShort(number) {
    for (const [unit, name] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
        if (number >= unit) {
            return threeDigits(number / unit) + name;
        }
    }
    return threeDigits(number);
}

/// One thing or several.
export function plural(count, one, several = `${one}s`) {
    return `${formatCount(count)} ${count === 1 ? one : several}`;
}

/// An element with attributes and children.
export function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

/// An element of a picture.
export function svgElement(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
        made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

export function byId(id) {
    return document.getElementById(id);
}

/// A colour of the page, by its name in the style.
export function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function isDark() {
    return document.documentElement.dataset.theme === "dark";
}

/// Several names of which one is chosen, as radio buttons in the host.
export function choice(host, label, options, choose) {
    host.setAttribute("role", "radiogroup");
    host.setAttribute("aria-label", label);
    options.forEach(([value, name], number) => {
        const input = element("input", { type: "radio", name: host.id, value });
        input.checked = number === 0;
        input.addEventListener("change", () => choose(value));
        host.append(element("label", {}, input, name));
    });
}

/// Names and values: pairs, with a third text below where there is one.
export function facts(host, list) {
    host.replaceChildren(...list.map(([name, value, below]) => {
        const shown = element("dd", {}, value);
        if (below) {
            shown.append(element("small", {}, below));
        }
        return element("div", {}, element("dt", {}, name), shown);
    }));
}

/// Calls back when an element becomes wider or narrower, and once now.
export function onWidth(host, draw) {
    let width = 0;
    new ResizeObserver(() => {
        if (host.clientWidth !== width) {
            width = host.clientWidth;
            draw();
        }
    }).observe(host);
}

/// A text that follows the pointer within a host.
export class Tip {
    constructor(host) {
        this.host = host;
        this.box = element("div", { class: "tip", "aria-hidden": "true" });
        this.box.hidden = true;
        host.append(this.box);
    }

    show(x, y, text) {
        this.box.hidden = false;
        this.box.textContent = text;
        const room = this.host.clientWidth - this.box.offsetWidth;
        this.box.style.left = `${Math.max(0, Math.min(x + 12, room))}px`;
        this.box.style.top = `${y + 16}px`;
    }

    hide() {
        this.box.hidden = true;
    }
}
