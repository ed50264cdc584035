//! Shared ownership: `Rc` downwards, `Weak` upwards; a block goes back when its last `Weak` does.

use crate::stage::Stage;
use crate::trouble::Trouble;
use std::rc::{Rc, Weak};

const CHILDREN: usize = 3;
const GENERATIONS: u32 = 8;

struct Person {
    parent: Weak<Person>,
    children: Vec<Rc<Person>>,
}

/// Walks through a family tree, down by owning pointers and up by weak ones.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let ancestor = family(Weak::new(), GENERATIONS - 1);
    let mut youngest = Vec::new();
    let people = walk(&ancestor, &mut youngest);
    stage.snapshot();
    let by_formula = (CHILDREN.pow(GENERATIONS) - 1) / (CHILDREN - 1);
    stage.check("people in eight generations", people, "by the formula", by_formula)?;

    let steps: usize =
        youngest.iter().map(|person| person.upgrade().map_or(0, |person| forebears(&person))).sum();
    let by_formula = CHILDREN.pow(GENERATIONS - 1) * (GENERATIONS as usize - 1);
    stage.check("steps from all of the youngest up to the ancestor", steps, "by the formula", by_formula)?;

    drop(ancestor);
    let alive = youngest.iter().filter(|person| person.upgrade().is_some()).count();
    stage.check("people that can be reached without the ancestor", alive, "they belong to it", 0)
}

fn family(parent: Weak<Person>, generations: u32) -> Rc<Person> {
    Rc::new_cyclic(|person| {
        let children = if generations == 0 { 0 } else { CHILDREN };
        Person { parent, children: (0..children).map(|_| family(person.clone(), generations - 1)).collect() }
    })
}

/// Counts the people from `person` down, and notes those without children.
fn walk(person: &Rc<Person>, youngest: &mut Vec<Weak<Person>>) -> usize {
    if person.children.is_empty() {
        youngest.push(Rc::downgrade(person));
    }
    1 + person.children.iter().map(|child| walk(child, youngest)).sum::<usize>()
}

fn forebears(person: &Person) -> usize {
    person.parent.upgrade().map_or(0, |parent| 1 + forebears(&parent))
}
