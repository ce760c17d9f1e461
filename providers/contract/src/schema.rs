//! What a type's attributes mean: enough to tell a difference from noise.

/// The attributes of one resource type. Whatever is not listed is optional, ours and updated in place.
#[derive(Debug)]
pub struct Schema {
    pub kind: &'static str,
    pub attributes: &'static [Attribute],
    /// Whether only the fields we set are ours (Kubernetes objects under server-side apply): what is
    /// observed beside them is no difference.
    pub partial: bool,
}

/// One attribute, by dotted path; `*` stands for any key or index. The longest matching path counts,
/// and what holds for `scaling_config` holds for all inside it unless said otherwise.
#[derive(Debug)]
pub struct Attribute {
    pub path: &'static str,
    pub ownership: Ownership,
    pub required: bool,
    pub forces_replacement: bool,
    pub sensitive: bool,
}

/// Who decides an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// We do: any other value is drift.
    Ours,
    /// The cloud does: known after apply, never set.
    Computed,
    /// We may; where we do not, the cloud's default stands and is no drift.
    ProviderDefault,
    /// We set it at creation; afterwards an autoscaler moves it.
    Autoscaler,
}

impl Attribute {
    const fn with(path: &'static str, ownership: Ownership) -> Attribute {
        Attribute { path, ownership, required: false, forces_replacement: false, sensitive: false }
    }

    pub const fn ours(path: &'static str) -> Attribute {
        Attribute::with(path, Ownership::Ours)
    }

    pub const fn computed(path: &'static str) -> Attribute {
        Attribute::with(path, Ownership::Computed)
    }

    pub const fn provider_default(path: &'static str) -> Attribute {
        Attribute::with(path, Ownership::ProviderDefault)
    }

    pub const fn autoscaler(path: &'static str) -> Attribute {
        Attribute::with(path, Ownership::Autoscaler)
    }

    pub const fn required(mut self) -> Attribute {
        self.required = true;
        self
    }

    pub const fn forces_replacement(mut self) -> Attribute {
        self.forces_replacement = true;
        self
    }

    pub const fn sensitive(mut self) -> Attribute {
        self.sensitive = true;
        self
    }
}

impl Schema {
    /// The attribute that governs a dotted path, if any is listed.
    pub fn governing(&self, path: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .filter(|attribute| covers(attribute.path, path))
            .max_by_key(|attribute| attribute.path.split('.').count())
    }

    pub fn ownership(&self, path: &str) -> Ownership {
        self.governing(path).map_or(Ownership::Ours, |attribute| attribute.ownership)
    }

    pub fn forces_replacement(&self, path: &str) -> bool {
        self.governing(path).is_some_and(|attribute| attribute.forces_replacement)
    }

    pub fn sensitive(&self, path: &str) -> bool {
        self.governing(path).is_some_and(|attribute| attribute.sensitive)
    }

    /// Top-level attributes that the cloud computes: unknown until created.
    pub fn computed(&self) -> impl Iterator<Item = &'static str> {
        self.attributes
            .iter()
            .filter(|attribute| {
                attribute.ownership == Ownership::Computed && !attribute.path.contains('.')
            })
            .map(|attribute| attribute.path)
    }
}

/// Whether `pattern` names `path` or something that `path` lies inside of.
fn covers(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('.');
    pattern.split('.').all(|want| parts.next().is_some_and(|part| want == "*" || want == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_path_governs() {
        static SCHEMA: Schema = Schema {
            kind: "x",
            attributes: &[
                Attribute::ours("scaling").forces_replacement(),
                Attribute::autoscaler("scaling.*.desired"),
                Attribute::computed("arn"),
            ],
            partial: false,
        };
        assert!(SCHEMA.forces_replacement("scaling.0.min"));
        assert!(!SCHEMA.forces_replacement("scaling.0.desired"));
        assert_eq!(SCHEMA.ownership("scaling.0.desired"), Ownership::Autoscaler);
        assert_eq!(SCHEMA.ownership("unlisted"), Ownership::Ours);
        assert_eq!(SCHEMA.computed().collect::<Vec<_>>(), ["arn"]);
    }
}
