use super::*;

#[test]
fn names_are_in_order_and_answered() {
    let names: Vec<&str> = names().collect();
    assert!(names.is_sorted());
    assert!(names.contains(&"upper") && names.contains(&"templatefile"));
}
