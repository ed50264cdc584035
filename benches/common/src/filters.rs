//! What a command line chooses from a table of rows and columns.

/// The allocators and the works that the filters leave: filters that fit allocators choose among
/// those, filters that fit works among these, and where no filter fits, all are left.
///
/// # Errors
///
/// If a filter fits nothing.
pub fn chosen<A: Clone, W: Clone>(
    filters: &[String],
    (allocators, allocator_name): (&[A], impl Fn(&A) -> &str),
    (works, work_name): (&[W], impl Fn(&W) -> &str),
) -> Result<(Vec<A>, Vec<W>), String> {
    let names: Vec<&str> =
        allocators.iter().map(&allocator_name).chain(works.iter().map(&work_name)).collect();
    for filter in filters {
        if !names.iter().any(|name| name.contains(filter.as_str())) {
            return Err(format!("{filter:?} fits nothing; there are {}", names.join(", ")));
        }
    }
    Ok((matching(filters, allocators, allocator_name), matching(filters, works, work_name)))
}

/// Those of the items whose name contains one of the filters; all of them if there are none.
fn matching<T: Clone>(filters: &[String], items: &[T], name: impl Fn(&T) -> &str) -> Vec<T> {
    let fits = |item: &&T| filters.iter().any(|filter| name(item).contains(filter.as_str()));
    let matching: Vec<T> = items.iter().filter(fits).cloned().collect();
    if matching.is_empty() { items.to_vec() } else { matching }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filters: &[&str]) -> Result<(Vec<&'static str>, Vec<&'static str>), String> {
        let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        let (allocators, works) = (["locked", "system"], ["json", "regex"]);
        chosen(&filters, (&allocators, |name| *name), (&works, |name| *name))
    }

    #[test]
    fn filters_on_allocators_leave_all_works_and_the_other_way_round() {
        assert_eq!(of(&["lock"]).unwrap(), (vec!["locked"], vec!["json", "regex"]));
        assert_eq!(of(&["json", "regex"]).unwrap(), (vec!["locked", "system"], vec!["json", "regex"]));
        assert_eq!(of(&["sys", "json"]).unwrap(), (vec!["system"], vec!["json"]));
        assert_eq!(of(&[]).unwrap(), (vec!["locked", "system"], vec!["json", "regex"]));
    }

    #[test]
    fn a_filter_that_fits_nothing_is_an_error() {
        assert_eq!(
            of(&["no such thing"]).unwrap_err(),
            "\"no such thing\" fits nothing; there are locked, system, json, regex"
        );
    }
}
