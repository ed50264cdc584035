// A table that can be sorted and filtered, and has as many rows in the document as are to be seen.

import { element, formatCount, plural } from "./format.js";

const ROW_HEIGHT = 44;
const ROWS_BEYOND = 4;
let tables = 0;

export class Table {
    /// `columns` have a title, a function that gives a row's value, one that writes it down, and may be minor: left out on narrow
    /// screens. `who` gives a row's function and place; it is the first column.
    constructor(host, label, columns, who, open) {
        this.columns = [{ title: "Asked for by", value: (row) => who(row).name, isText: true }, ...columns];
        this.who = who;
        this.open = open;
        this.id = `table-${++tables}`;
        this.sorted = { column: 1, isDescending: true };
        this.rows = [];
        this.all = [];
        this.isWanted = null;
        this.active = 0;
        this.header = element("div", { class: "row header", role: "row" }, ...this.columns.map((column, number) => {
            const button = element("button", { type: "button" }, column.title);
            button.addEventListener("click", () => this.#sortBy(number));
            return element("div", { role: "columnheader", class: this.#classOf(column) }, button);
        }));
        this.space = element("div", { class: "space", role: "rowgroup" });
        this.scroll = element("div", { class: "scroll", role: "grid", tabindex: 0, "aria-label": label }, this.header, this.space);
        this.footer = element("div", { class: "footer", "aria-live": "polite" });
        const majors = columns.filter((column) => !column.isMinor).length;
        host.append(element("div", {
            class: "table",
            style: `--numbers: ${columns.length}; --major-numbers: ${majors}`,
        }, this.scroll, this.footer));
        this.scroll.addEventListener("scroll", () => this.#draw(), { passive: true });
        this.scroll.addEventListener("keydown", (event) => this.#key(event));
        this.scroll.addEventListener("click", (event) => this.#click(event));
    }

    #classOf(column) {
        return `${column.isText ? "who" : "number"}${column.isMinor ? " minor" : ""}`;
    }

    /// Shows other rows.
    set(rows) {
        this.all = rows;
        this.#arrange();
    }

    /// Shows only the rows that a function accepts; all, if it is null.
    filter(isWanted) {
        this.isWanted = isWanted;
        this.#arrange();
    }

    #sortBy(column) {
        const isSame = this.sorted.column === column;
        // Numbers are sought from the largest on, names from the first.
        const isDescending = isSame ? !this.sorted.isDescending : !this.columns[column].isText;
        this.sorted = { column, isDescending };
        this.#arrange();
    }

    #arrange() {
        const { column, isDescending } = this.sorted;
        const { value, isText } = this.columns[column];
        const wanted = this.isWanted ? this.all.filter(this.isWanted) : this.all;
        const keyed = wanted.map((row) => ({ row, key: value(row) }));
        const ascending = isText
            ? (one, other) => (one.key < other.key ? -1 : one.key > other.key ? 1 : 0)
            : (one, other) => one.key - other.key;
        keyed.sort(isDescending ? (one, other) => ascending(other, one) : ascending);
        this.rows = keyed.map(({ row }) => row);
        [...this.header.children].forEach((cell, number) => {
            const order = isDescending ? "descending" : "ascending";
            cell.setAttribute("aria-sort", number === column ? order : "none");
        });
        this.scroll.setAttribute("aria-rowcount", this.rows.length + 1);
        const height = this.rows.length * ROW_HEIGHT;
        this.space.style.height = `${height}px`;
        this.footer.textContent = this.rows.length === this.all.length
            ? plural(this.all.length, "call site")
            : `${formatCount(this.rows.length)} of ${plural(this.all.length, "call site")}`;
        this.active = 0;
        this.scroll.scrollTop = 0;
        this.#draw();
    }

    #draw() {
        const top = this.scroll.scrollTop;
        const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - ROWS_BEYOND);
        const last = Math.min(this.rows.length, Math.ceil((top + this.#visible()) / ROW_HEIGHT) + ROWS_BEYOND);
        const made = [];
        for (let number = first; number < last; number++) {
            made.push(this.#row(number));
        }
        this.space.replaceChildren(...made);
        const isDrawn = this.active >= first && this.active < last;
        if (isDrawn) {
            this.scroll.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
        } else {
            this.scroll.removeAttribute("aria-activedescendant");
        }
    }

    /// How many pixels of rows are to be seen.
    #visible() {
        return Math.max(0, this.scroll.clientHeight - this.header.offsetHeight);
    }

    #row(number) {
        const row = this.rows[number];
        const { name, place } = this.who(row);
        const cells = this.columns.slice(1).map((column) => element("div", { role: "gridcell", class: this.#classOf(column) },
            column.format(column.value(row))));
        const made = element("div", {
            class: number === this.active ? "row active" : "row",
            role: "row",
            id: `${this.id}-${number}`,
            "aria-rowindex": number + 2,
            style: `top: ${number * ROW_HEIGHT}px`,
        }, element("div", { role: "gridcell", class: "who", title: name },
            element("div", { class: "function" }, name), element("div", { class: "place" }, place)), ...cells);
        made.dataset.number = number;
        return made;
    }

    #click(event) {
        const clicked = event.target.closest("[data-number]");
        if (clicked) {
            this.active = Number(clicked.dataset.number);
            this.#draw();
            this.open(this.rows[this.active]);
        }
    }

    #key(event) {
        if (event.target !== this.scroll) {
            return;
        }
        const page = Math.max(1, Math.floor(this.#visible() / ROW_HEIGHT) - 1);
        const last = this.rows.length - 1;
        const to = {
            ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page,
            Home: 0, End: last,
        };
        if (event.key === "Enter" && this.rows[this.active] !== undefined) {
            this.open(this.rows[this.active]);
        } else if (event.key in to) {
            this.active = Math.max(0, Math.min(last, to[event.key]));
            const top = this.active * ROW_HEIGHT;
            const below = top + ROW_HEIGHT - this.#visible();
            this.scroll.scrollTop = Math.min(top, Math.max(below, this.scroll.scrollTop));
            this.#draw();
        } else {
            return;
        }
        event.preventDefault();
    }
}
