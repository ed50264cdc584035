// Stacks of functions: a tree, in which each node has a frame and the node that called it.

export class StackTree {
    constructor(data) {
        this.texts = data.texts;
        this.frames = data.frames;
        this.caller = Uint32Array.from(data.nodes.caller);
        this.frame = Uint32Array.from(data.nodes.frame);
        this.size = this.caller.length;
        this.#children();
    }

    /// The nodes that a node calls lie side by side in a list: from `first[node]` to `first[node + 1]`.
    #children() {
        this.first = new Uint32Array(this.size + 1);
        for (let node = 1; node < this.size; node++) {
            this.first[this.caller[node] + 1] += 1;
        }
        for (let node = 0; node < this.size; node++) {
            this.first[node + 1] += this.first[node];
        }
        const next = this.first.slice();
        this.called = new Uint32Array(Math.max(0, this.size - 1));
        for (let node = 1; node < this.size; node++) {
            this.called[next[this.caller[node]]++] = node;
        }
    }

    /// The number of a node's function among the texts.
    functionOf(node) {
        return this.frames.function[this.frame[node]];
    }

    functionName(node) {
        return this.texts[this.functionOf(node)];
    }

    /// Whose code it is: 0 the program's own, 1 a dependency's, 2 Rust's, 3 unknown.
    origin(node) {
        return this.frames.origin[this.frame[node]];
    }

    /// File and line, as far as they are known.
    place(node) {
        const frame = this.frame[node];
        const file = this.texts[this.frames.file[frame]];
        const line = this.frames.line[frame];
        return file && line ? `${file}:${line}` : file;
    }

    /// The nodes of a stack, the innermost one first.
    stack(node) {
        const nodes = [];
        for (; node !== 0; node = this.caller[node]) {
            nodes.push(node);
        }
        return nodes;
    }

    /// The one to talk to: the innermost function of the program itself; where there is none, of a dependency; or just the innermost.
    /// And by what it asked for memory: the function that it called, if there is one.
    responsible(node) {
        const stack = this.stack(node);
        const of = (origin) => stack.findIndex((candidate) => this.origin(candidate) === origin);
        const found = [of(0), of(1), 0].find((place) => place >= 0);
        return { itself: stack[found], called: stack[found - 1] };
    }

    /// Whether a stack has functions of Rust's library, and none of the program or what it depends on.
    isRuntime(node) {
        const origins = this.stack(node).map((called) => this.origin(called));
        return origins.includes(2) && !origins.includes(0) && !origins.includes(1);
    }

    /// For each node what it and all that it calls have together. `own` has a value for each of the nodes in `of`.
    sums(of, own) {
        const sums = new Float64Array(this.size);
        of.forEach((node, number) => {
            sums[node] += own[number];
        });
        for (let node = this.size - 1; node > 0; node--) {
            sums[this.caller[node]] += sums[node];
        }
        return sums;
    }

    /// For each node whether a text is part of its function or file, or of one that called it; and by itself.
    matches(query) {
        const wanted = query.toLowerCase();
        const texts = this.texts.map((text) => text.toLowerCase().includes(wanted));
        const itself = new Uint8Array(this.size);
        const through = new Uint8Array(this.size);
        for (let node = 1; node < this.size; node++) {
            const frame = this.frame[node];
            itself[node] = texts[this.frames.function[frame]] || texts[this.frames.file[frame]] ? 1 : 0;
            through[node] = itself[node] | through[this.caller[node]];
        }
        return { itself, through };
    }
}
