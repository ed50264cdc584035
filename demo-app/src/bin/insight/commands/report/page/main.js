// The page as a whole: reads the data, fills the sections, and connects what belongs together.

import { ArenaMap } from "./arena.js";
import { TimeChart } from "./chart.js";
import { byId, choice, facts, formatBytes, formatCount, formatMicros, formatShort, plural } from "./format.js";
import { ColumnChart } from "./histogram.js";
import { growthsSection, holdersSection, leaksSection, shortSection, stackDialog } from "./sections.js";
import { StackTree } from "./stacks.js";

const THEME_KEY = "memory-report-theme";

/// What of a program a title has room for: the first word, without its folders.
function shortName(program) {
    return program.split(" ")[0].split("/").at(-1);
}

function summary(data) {
    const title = data.program ? `${shortName(data.program)}: memory report` : "Memory report";
    document.title = title;
    byId("title").textContent = title;
    const began = data.began > 0 ? `, recorded ${new Date(data.began).toLocaleString("en-GB", { timeZoneName: "short" })}` : "";
    byId("about").textContent = `${data.program || "An unnamed program"} (process ${data.process})${began}.`;
    const notices = [...data.missing];
    if (data.ended) {
        notices.unshift(`The recording ended before the program, since ${data.ended}.`);
    }
    if (data.callSites === "none") {
        notices.push("The trace has no call sites: record with them to see who asked for the memory.");
    }
    if (data.isSampled) {
        notices.push(`This is a sample of what was in use, one allocation for each ${formatBytes(data.sampleInterval)} in the mean: `
            + "all amounts are estimates.");
    }
    if (data.unmatched > 0) {
        notices.push(`${plural(data.unmatched, "event is", "events are")} about blocks whose allocation or release was not recorded.`);
    }
    byId("notices").hidden = notices.length === 0;
    byId("notices").replaceChildren(...notices.map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
    }));
    if (data.isSampled) {
        facts(byId("facts"), [
            ["In use", formatBytes(data.end.bytes), plural(data.end.blocks, "block")],
            ["Samples", formatCount(data.events)],
            ["Threads", formatCount(data.threads)],
        ]);
        return;
    }
    facts(byId("facts"), [
        ["Peak", formatBytes(data.peak.bytes), plural(data.peak.blocks, "block")],
        ["At the end", formatBytes(data.end.bytes), plural(data.end.blocks, "block")],
        ["Asked for in all", formatBytes(data.bytes)],
        ["Allocations", formatCount(data.allocations), `${plural(data.reallocations, "reallocation")}`],
        ["Refused", formatCount(data.refusals)],
        ["Threads", formatCount(data.threads)],
        ["Duration", formatMicros(data.end.time), plural(data.events, "event")],
    ]);
}

/// Charts of sizes and lifetimes, each by number or by bytes.
function sizesSection(data) {
    const sizes = new ColumnChart(byId("sizes-chart"), "Sizes", formatBytes);
    const lifetimes = new ColumnChart(byId("lifetimes-chart"), "Lifetimes", (value) => clocks[clock].format(value));
    const clocks = {
        events: { bins: data.lifetimesInEvents, format: formatShort, name: "in events" },
        time: { bins: data.lifetimesInMicros, format: formatMicros, name: "in time" },
    };
    let unit = "blocks";
    let clock = "events";
    const draw = () => {
        sizes.set(data.sizes, unit);
        lifetimes.set(clocks[clock].bins, unit);
    };
    choice(byId("sizes-unit"), "What is counted", [["blocks", "Blocks"], ["bytes", "Bytes"]], (value) => {
        unit = value;
        draw();
    });
    choice(byId("lifetimes-clock"), "Lifetimes", Object.entries(clocks).map(([key, { name }]) => [key, name]), (value) => {
        clock = value;
        draw();
    });
    draw();
}

/// What the browser remembers is not there in every place that a page can be opened from.
function remembered() {
    try {
        return localStorage.getItem(THEME_KEY);
    } catch {
        return null;
    }
}

function remember(theme) {
    try {
        localStorage.setItem(THEME_KEY, theme);
    } catch {
        // The page works without.
    }
}

function theme(redraw) {
    const prefersDark = matchMedia("(prefers-color-scheme: dark)");
    const button = byId("theme");
    let chosen = remembered();
    const apply = () => {
        const isDarkNow = chosen ? chosen === "dark" : prefersDark.matches;
        document.documentElement.dataset.theme = isDarkNow ? "dark" : "light";
        button.setAttribute("aria-pressed", String(isDarkNow));
        redraw();
    };
    button.addEventListener("click", () => {
        chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
        remember(chosen);
        apply();
    });
    prefersDark.addEventListener("change", apply);
    apply();
}

function search(tree, sections) {
    const input = byId("search");
    let waiting = 0;
    const apply = () => {
        const query = input.value.trim();
        const matches = query ? tree.matches(query) : null;
        sections.forEach((section) => section.filter(matches));
    };
    input.addEventListener("input", () => {
        // While somebody types, only the last letter counts.
        clearTimeout(waiting);
        waiting = setTimeout(apply, 120);
    });
    document.addEventListener("keydown", (event) => {
        const isTyping = event.target.matches("input[type=search]");
        if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            input.focus();
            input.select();
        } else if (event.key === "Escape" && isTyping) {
            input.value = "";
            apply();
            input.blur();
        }
    });
}

/// Takes sections out that have nothing to say, with their links.
function leaveOut(...ids) {
    for (const id of ids) {
        byId(id).remove();
        document.querySelector(`nav a[href="#${id}"]`).remove();
    }
}

function start() {
    const data = JSON.parse(byId("data").textContent);
    const tree = new StackTree(data);
    const open = stackDialog(tree);
    summary(data);
    const redrawn = [];
    const sections = [];
    const holders = holdersSection(data, tree, open);
    redrawn.push(holders.redraw);
    sections.push(holders);
    if (data.isSampled || data.events === 0) {
        // Of a sample nobody knows what lies beside it, how it came to be, and what becomes of it.
        leaveOut("time", "arena", "leaks", "short", "growths", "sizes");
    } else {
        const chart = new TimeChart(byId("time-chart"), data.series);
        choice(byId("time-axis"), "Axis", [["event", "By events"], ["time", "By time"]], (axis) => chart.setAxis(axis));
        const map = new ArenaMap({
            map: byId("arena-map"), slider: byId("arena-slider"), moment: byId("arena-moment"), facts: byId("arena-facts"),
            peak: byId("arena-peak"), end: byId("arena-end"), legend: byId("arena-legend"),
        }, data.arena, data.peak, (moment) => chart.mark(moment));
        redrawn.push(() => map.draw());
        sections.push(leaksSection(data, tree, open));
        sections.push(shortSection(data, tree, open), growthsSection(data, tree, open));
        sizesSection(data);
    }
    search(tree, sections);
    theme(() => redrawn.forEach((redraw) => redraw()));
}

start();
