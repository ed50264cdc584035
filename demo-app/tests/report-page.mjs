// Opens a page that `insight report` wrote in a browser, and uses it as a person would.
//
//     node report-page.mjs PAGE [FOLDER FOR PICTURES]
//
// `.ci/report-page` makes such a page, and installs what this needs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [pagePath, pictures] = process.argv.slice(2);
// The packages are where this is started, not where it lies.
const require = createRequire(path.join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const address = pathToFileURL(path.resolve(pagePath)).href;

const SIZES = [[1280, 900], [400, 800]];
// An answer that takes longer feels slow; a machine that does other things at the same time is slow, too.
const PATIENCE_MS = 2000;

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync"],
});
let passed = 0;

async function check(name, options, use) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const wrong = [];
    page.on("console", (message) => wrong.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => wrong.push(error.stack));
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    const began = Date.now();
    await page.goto(address);
    await page.locator("#facts dd").first().waitFor();
    const opened = Date.now() - began;
    await use(page, opened);
    assert.deepEqual(wrong, [], `${name}: the console has something to say`);
    assert.deepEqual(new Set(requests), new Set([address]), `${name}: something was asked for`);
    await context.close();
    passed += 1;
    console.log(`${name}: ok`);
}

/// How long something takes, until it is drawn.
async function timed(page, what, act) {
    const began = Date.now();
    await act();
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const took = Date.now() - began;
    console.log(`    ${what}: ${took} ms`);
    assert.ok(took < PATIENCE_MS, `${what} took ${took} ms`);
}

/// The numbers in a column of the rows that are shown, from top to bottom, in the units that they are written in.
async function column(table, number) {
    const units = { bytes: 1, byte: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, "%": 1 };
    const texts = await table.locator(`[role=row][id] > :nth-child(${number})`).allTextContents();
    return texts.map((text) => {
        const [value, unit] = text.replaceAll(",", "").replace("< ", "").split(" ");
        return Number(value) * (units[unit] ?? 1);
    });
}

function isSorted(numbers, sign) {
    return numbers.every((number, place) => place === 0 || sign * (numbers[place - 1] - number) >= 0);
}

await check("summary", {}, async (page, opened) => {
    console.log(`    opened: ${opened} ms`);
    assert.ok(opened < 5000, `it took ${opened} ms to open`);
    const data = await page.evaluate(() => JSON.parse(document.getElementById("data").textContent));
    const blocks = await page.locator("#facts dd small").first().textContent();
    assert.equal(blocks, `${data.peak.blocks.toLocaleString("en")} blocks`);
    assert.match(await page.title(), /memory report$/);
});

await check("table", {}, async (page) => {
    const table = page.locator("#holders-table");
    const header = (name) => table.getByRole("button", { name });
    const order = (name) => table.getByRole("columnheader", { name }).getAttribute("aria-sort");
    assert.equal(await order("Amount"), "descending");
    assert.ok(isSorted(await column(table, 2), 1), "the largest amount is first");
    await timed(page, "sorting", () => header("Blocks").click());
    assert.equal(await order("Blocks"), "descending");
    assert.equal(await order("Amount"), "none");
    const descending = await column(table, 4);
    assert.ok(isSorted(descending, 1), "the most blocks are first");
    await header("Blocks").click();
    assert.equal(await order("Blocks"), "ascending");
    const ascending = await column(table, 4);
    assert.ok(isSorted(ascending, -1) && ascending[0] < descending[0], "the fewest blocks are first");
    await header("Asked for by").click();
    const names = await table.locator(".function").allTextContents();
    assert.deepEqual(names, [...names].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0)));

    // Whatever there is, few rows are in the document; and the last one can be gone to.
    const rows = table.locator("[role=row][id]");
    const count = Number(await table.getByRole("grid").getAttribute("aria-rowcount")) - 1;
    assert.ok(count > 1000, `${count} rows`);
    assert.ok(await rows.count() < 40);
    await table.getByRole("grid").focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowUp");
    const active = await table.getByRole("grid").getAttribute("aria-activedescendant");
    assert.equal(await page.locator(`[id="${active}"]`).getAttribute("aria-rowindex"), String(count));
    assert.ok(await page.locator(`[id="${active}"]`).isVisible());
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    assert.ok(await dialog.isVisible());
    assert.ok(await dialog.getByRole("listitem").count() >= 1);
    await page.keyboard.press("Escape");
    assert.ok(!await dialog.isVisible());
});

await check("search", {}, async (page) => {
    const table = page.locator("#holders-table");
    const footer = table.locator(".footer");
    const all = await footer.textContent();
    // A function that not all stacks go through.
    const wanted = await page.evaluate(() => {
        const counts = new Map();
        const { nodes, frames, texts, rows } = JSON.parse(document.getElementById("data").textContent);
        for (const row of rows.node) {
            const names = new Set();
            for (let node = row; node !== 0; node = nodes.caller[node]) {
                names.add(texts[frames.function[nodes.frame[node]]]);
            }
            names.forEach((name) => counts.set(name, (counts.get(name) ?? 0) + 1));
        }
        const shown = [...document.querySelectorAll("#holders-table .function")].map((cell) => cell.textContent);
        return shown.find((name) => counts.get(name) < rows.node.length / 2);
    });
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "search");
    await timed(page, "searching", async () => {
        await page.keyboard.type(wanted);
        await page.waitForFunction((before) => document.querySelector("#holders-table .footer").textContent !== before, all);
    });
    assert.match(await footer.textContent(), /^[\d,]+ of [\d,]+ call sites$/);
    await table.locator("[role=row][id]").first().click();
    assert.ok((await page.locator("#stack-frames").textContent()).includes(wanted));
    await page.keyboard.press("Escape");
    await page.locator("#search").fill("no function is called this");
    await page.waitForFunction(() => document.querySelector("#holders-table .footer").textContent.startsWith("0 of"));
    await page.locator("#search").press("Escape");
    assert.equal(await footer.textContent(), all);
    assert.notEqual(await page.evaluate(() => document.activeElement.id), "search");
});

await check("slider", {}, async (page) => {
    const slider = page.getByRole("slider");
    const picture = () => page.locator("#arena-map canvas").evaluate((canvas) => canvas.toDataURL());
    const moment = () => page.locator("#arena-moment").textContent();
    await slider.focus();
    await page.keyboard.press("End");
    const last = Number(await slider.inputValue());
    const atEnd = [await moment(), await picture()];
    await timed(page, "moving the slider", () => page.keyboard.press("ArrowLeft"));
    assert.equal(Number(await slider.inputValue()), last - 1);
    assert.notEqual(await moment(), atEnd[0]);
    assert.ok((await slider.getAttribute("aria-valuetext")).startsWith(await moment()));
    await page.keyboard.press("Home");
    assert.equal(await slider.inputValue(), "0");
    assert.notEqual(await picture(), atEnd[1]);
    await page.locator("#arena-end").click();
    assert.deepEqual([await moment(), await picture()], atEnd);
    await page.locator("#arena-map canvas").hover({ position: { x: 3, y: 3 } });
    assert.match(await page.locator("#arena-map .tip").textContent(), /^0x[0-9a-f]+, .* in use$/);
});

await check("flame graph", {}, async (page) => {
    const canvas = page.locator("#flame canvas");
    const status = page.locator("#flame .status");
    const whole = page.getByRole("button", { name: "Whole graph" });
    const all = await status.textContent();
    assert.match(all, /^all: .*, 100 %$/);
    assert.ok(await whole.isDisabled());
    await canvas.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    const child = await status.textContent();
    assert.notEqual(child, all);
    const before = await canvas.evaluate((element) => element.toDataURL());
    await timed(page, "zooming", () => page.keyboard.press("Enter"));
    assert.ok(await whole.isEnabled());
    assert.equal(await status.textContent(), child);
    await page.keyboard.press("s");
    assert.ok(await page.getByRole("dialog").isVisible());
    await page.keyboard.press("Escape");
    await canvas.focus();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    assert.ok(await whole.isDisabled());
    assert.equal(await status.textContent(), all);
    // By the pointer: what is in the third row, and back.
    await canvas.click({ position: { x: 8, y: 50 } });
    assert.equal(await status.textContent(), child);
    await whole.click();
    await timed(page, "what is shown", () => page.getByText("Number of requests").click());
    assert.notEqual(await canvas.evaluate((element) => element.toDataURL()), before);
    assert.notEqual(await status.textContent(), all);
});

await check("charts", {}, async (page) => {
    const line = page.locator("#time-chart .live");
    const byEvents = await line.getAttribute("d");
    await page.locator("#time-axis").getByText("By time").click();
    assert.notEqual(await line.getAttribute("d"), byEvents);
    await page.locator("#time-chart svg").hover({ position: { x: 500, y: 100 } });
    assert.match(await page.locator("#time-chart .tip").textContent(), /^event [\d,]+, after .*\nin use .* blocks\nfootprint .* not in use$/);
    const columns = page.locator("#sizes-chart .column");
    const heights = () => columns.evaluateAll((all) => all.map((column) => column.getAttribute("height")).join());
    const byBlocks = await heights();
    await page.locator("#sizes-unit").getByText("Bytes").click();
    assert.notEqual(await heights(), byBlocks);
    await page.locator("#sizes-chart svg").hover({ position: { x: 300, y: 100 } });
    assert.match(await page.locator("#sizes-chart .tip").textContent(), /block/);
});

await check("keyboard", {}, async (page) => {
    const focused = [];
    for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press("Tab");
        focused.push(await page.evaluate(() => {
            const element = document.activeElement;
            return element.id || element.getAttribute("href") || (element.closest("[id]")?.id ?? "");
        }));
    }
    const order = ["#main", "search", "theme", "#time", "time-axis", "arena-peak", "arena-slider", "holders-metric", "flame",
        "holders-table", "leaks-table", "short-table", "growths-table"];
    const places = order.map((id) => focused.indexOf(id));
    assert.ok(places.every((place) => place >= 0) && isSorted(places, -1), `${order} but ${focused}`);
});

await check("dark", { colorScheme: "light" }, async (page) => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const map = () => page.locator("#arena-map canvas").evaluate((canvas) => canvas.toDataURL());
    const light = [await ground(), await map()];
    await page.getByRole("button", { name: "Dark" }).click();
    assert.notEqual(await ground(), light[0]);
    assert.notEqual(await map(), light[1]);
    assert.equal(await page.locator("#theme").getAttribute("aria-pressed"), "true");
    await page.reload();
    await page.locator("#facts dd").first().waitFor();
    assert.notEqual(await ground(), light[0], "the choice is remembered");
});

for (const colorScheme of ["light", "dark"]) {
    for (const [width, height] of SIZES) {
        const name = `${width}x${height} ${colorScheme}`;
        await check(name, { colorScheme, viewport: { width, height } }, async (page) => {
            const isDark = await page.evaluate(() => document.documentElement.dataset.theme === "dark");
            assert.equal(isDark, colorScheme === "dark", "the system's choice is taken");
            const wide = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(wide <= width, `the page is ${wide} pixels wide`);
            await page.addScriptTag({ path: axe });
            const { violations } = await page.evaluate(() => window.axe.run());
            const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
            assert.deepEqual(found, [], "accessibility");
            if (pictures) {
                await page.screenshot({ path: path.join(pictures, `${name.replace(" ", "-")}.png`), fullPage: true });
            }
        });
    }
}

await browser.close();
console.log(`${passed} passed, 0 failed`);
