//! A drawing for each template of the catalogue, in the colours of the page.

use leptos::prelude::*;

/// Strokes on 240 × 72.
struct Picture {
    /// Where the application runs.
    active: &'static str,
    /// What takes its place when it fails.
    spare: &'static str,
    /// What happens between or around them.
    rest: &'static str,
}

/// Two nodes, the files flowing from one to the other.
const MIRROR: Picture = Picture {
    active: "M22 10h46a8 8 0 0 1 8 8v36a8 8 0 0 1-8 8H22a8 8 0 0 1-8-8V18a8 8 0 0 1 8-8ZM28 27h34M28 37h34M28 47h20M90 36h57M139 28l9 8-9 8",
    spare: "M172 10h46a8 8 0 0 1 8 8v36a8 8 0 0 1-8 8h-46a8 8 0 0 1-8-8V18a8 8 0 0 1 8-8Z",
    rest: "M178 27h34M178 37h34M178 47h20M98 14h8l4 4v10h-12ZM120 44h8l4 4v10h-12Z",
};

/// One node, whose application starts again.
const LIGHT: Picture = Picture {
    active: "M97 10h46a8 8 0 0 1 8 8v36a8 8 0 0 1-8 8H97a8 8 0 0 1-8-8V18a8 8 0 0 1 8-8ZM113 25v22l18-11-18-11Z",
    spare: "",
    rest: "M166 25a16 16 0 1 1-1 22M164 37v10h10",
};

/// A page in a browser that moves to the other node.
const CONSOLE: Picture = Picture {
    active: "M22 10h66a8 8 0 0 1 8 8v36a8 8 0 0 1-8 8H22a8 8 0 0 1-8-8V18a8 8 0 0 1 8-8ZM14 24h82M34 24v38M23 17h.1M30 17h.1M37 17h.1M44 34h40M44 43h40M44 52h24",
    spare: "M152 10h66a8 8 0 0 1 8 8v36a8 8 0 0 1-8 8h-66a8 8 0 0 1-8-8V18a8 8 0 0 1 8-8Z",
    rest: "M106 30c8-9 20-9 28 0M126 30h8v-8M106 46h28M144 24h82M164 24v38M153 17h.1M160 17h.1M167 17h.1",
};

/// Any other: what is packed.
const PACKAGE: Picture = Picture {
    active: "M120 8l34 14v28l-34 14-34-14V22l34-14ZM86 22l34 14 34-14M120 36v28",
    spare: "",
    rest: "M103 15l34 14",
};

fn of(template: &str) -> Picture {
    match template {
        "mirror.safe" => MIRROR,
        "light.safe" => LIGHT,
        "console.safe" => CONSOLE,
        _ => PACKAGE,
    }
}

/// Draws what a module made of `template` is like; screen readers skip it, so the words beside it must say the same.
pub fn picture(template: &str) -> impl IntoView + use<> {
    let Picture { active, spare, rest } = of(template);
    view! {
        <svg class="picture" viewBox="0 0 240 72" aria-hidden="true" data-picture=template.to_owned()>
            <path class="spare" d=spare /><path d=rest /><path class="active" d=active />
        </svg>
    }
}
