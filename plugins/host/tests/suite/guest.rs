//! Components written as text: a core module's functions in the boilerplate of the contract.

use std::sync::Arc;

use plugin_host::{Error, Host, Item, Limits, Plugin, Source};

/// Where the guest's own texts begin in its memory; below are the areas of answers.
const TEXTS: usize = 2048;

/// The types interface of contract 1.0.
const TYPES: &str = r#"
  (import "tar365:plugin/types@VERSION" (instance $types
    (type $phase' (enum "hold" "metadata" "content"))
    (export "phase" (type $phase (eq $phase')))
    (type $manifest' (record (field "name" string) (field "version" string)
      (field "author" string) (field "description" string)
      (field "phases" (list $phase)) (field "services" (list string))))
    (export "manifest" (type $manifest (eq $manifest')))
    (type $item' (record (field "id" string) (field "service" string) (field "kind" string)
      (field "owner" string) (field "owner-id" string) (field "path" string)
      (field "media-type" (option string)) (field "size" (option u64))))
    (export "item" (type $item (eq $item')))
    (type $metadata-decision' (variant (case "keep") (case "drop" string)
      (case "change" string) (case "hold" string)))
    (export "metadata-decision" (type $metadata-decision (eq $metadata-decision')))
    (type $content-decision' (variant (case "keep") (case "drop" string) (case "replace")))
    (export "content-decision" (type $content-decision (eq $content-decision')))
    (type $level' (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
  ))
  (alias export $types "manifest" (type $manifest))
  (alias export $types "item" (type $item))
  (alias export $types "metadata-decision" (type $metadata-decision))
  (alias export $types "content-decision" (type $content-decision))
  (alias export $types "level" (type $level))
"#;

/// A function that guests import.
#[derive(Clone, Copy)]
struct Function {
    /// Name in the core module.
    local: &'static str,
    interface: &'static str,
    /// Name in the interface.
    name: &'static str,
    /// Type in the component.
    ty: &'static str,
    /// Parameters in the core module.
    core: &'static str,
}

const FUNCTIONS: [Function; 7] = [
    Function {
        local: "get",
        interface: "current",
        name: "get",
        ty: "(func (result $item'))",
        core: "(param i32)",
    },
    Function {
        local: "metadata",
        interface: "current",
        name: "metadata",
        ty: "(func (result string))",
        core: "(param i32)",
    },
    Function {
        local: "value",
        interface: "current",
        name: "value",
        ty: r#"(func (param "pointer" string) (result (option string)))"#,
        core: "(param i32 i32 i32)",
    },
    Function {
        local: "read",
        interface: "current",
        name: "read",
        ty: r#"(func (param "max" u32) (result (list u8)))"#,
        core: "(param i32 i32)",
    },
    Function {
        local: "write",
        interface: "current",
        name: "write",
        ty: r#"(func (param "bytes" (list u8)))"#,
        core: "(param i32 i32)",
    },
    Function {
        local: "settings",
        interface: "settings",
        name: "get",
        ty: "(func (result string))",
        core: "(param i32)",
    },
    Function {
        local: "log",
        interface: "log",
        name: "write",
        ty: r#"(func (param "level" $level') (param "message" string))"#,
        core: "(param i32 i32 i32)",
    },
];

/// The world's exports and their results.
const EXPORTS: [(&str, &str); 4] = [
    ("describe", "$manifest"),
    ("configure", "(result (error string))"),
    ("on-metadata", "(result $metadata-decision (error string))"),
    ("on-content", "(result $content-decision (error string))"),
];

/// The imports of these functions.
fn imports(used: &[Function]) -> String {
    let mut wat = String::new();
    for interface in ["current", "settings", "log"] {
        let functions = || used.iter().filter(|function| function.interface == interface);
        if functions().next().is_none() {
            continue;
        }
        wat += &format!("  (import \"tar365:plugin/{interface}@VERSION\" (instance ${interface}\n");
        for ty in ["item", "level"] {
            if functions().any(|function| function.ty.contains(&format!("${ty}'"))) {
                wat += &format!(
                    "    (alias outer 1 ${ty} (type ${ty}-outer))
    (export \"{ty}\" (type ${ty}' (eq ${ty}-outer)))\n"
                );
            }
        }
        for Function { name, ty, .. } in functions() {
            wat += &format!("    (export \"{name}\" {ty})\n");
        }
        wat += "  ))\n";
    }
    wat
}

/// Memory and its allocator, below all that uses them. `reset` frees all.
const MEMORY: &str = r#"
  (core module $memory-module
    (memory (export "memory") PAGES)
    (global $heap (mut i32) (i32.const 65536))
    (func (export "reset") (global.set $heap (i32.const 65536)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (global.get $heap))
      (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 7))
        (i32.const -8)))
      (loop $more
        (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
          (then
            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
            (br $more))))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (core func $realloc (alias core export $memory "realloc"))
"#;

/// What every body may call: answers at 16, results of the host at 64.
const TOOLS: &str = r#"
    (import "memory" "memory" (memory 1))
    (import "memory" "reset" (func $reset))
    (func $fine (result i32) (i32.store8 (i32.const 16) (i32.const 0)) (i32.const 16))
    (func $refuse (param i32 i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (local.get 0))
      (i32.store (i32.const 24) (local.get 1))
      (i32.const 16))
    (func $answer (param i32 i32 i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store8 (i32.const 20) (local.get 0))
      (i32.store (i32.const 24) (local.get 1))
      (i32.store (i32.const 28) (local.get 2))
      (i32.const 16))
    (func $keep (result i32) (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))
    (func $drop (param i32 i32) (result i32)
      (call $answer (i32.const 1) (local.get 0) (local.get 1)))
    (func $change (param i32 i32) (result i32)
      (call $answer (i32.const 2) (local.get 0) (local.get 1)))
    (func $replace (result i32) (call $answer (i32.const 2) (i32.const 0) (i32.const 0)))
    (func $hold (param i32 i32) (result i32)
      (call $answer (i32.const 3) (local.get 0) (local.get 1)))
    ;; Whether two texts are equal.
    (func $equal (param i32 i32 i32 i32) (result i32)
      (if (i32.ne (local.get 1) (local.get 3)) (then (return (i32.const 0))))
      (loop $next
        (if (i32.eqz (local.get 1)) (then (return (i32.const 1))))
        (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
        (br_if $next (i32.eq
          (i32.load8_u (i32.add (local.get 0) (local.get 1)))
          (i32.load8_u (i32.add (local.get 2) (local.get 1))))))
      (i32.const 0))
"#;

/// A filter of contract 1.0 in the making. It imports the functions that its bodies call.
#[derive(Clone)]
pub(crate) struct Guest {
    version: &'static str,
    name: String,
    own_version: String,
    phases: Vec<u8>,
    services: Vec<String>,
    /// Bytes of the data segment at [`TEXTS`].
    texts: Vec<u8>,
    configure: String,
    on_metadata: String,
    on_content: String,
    describe: Option<String>,
    /// Further functions, globals and memories of the core module.
    core: String,
    /// Further imports of the component.
    imports: String,
    pages: u32,
}

impl Guest {
    /// Keeps everything, in the metadata phase.
    pub(crate) fn new(name: &str) -> Self {
        Guest {
            version: "1.0.0",
            name: name.into(),
            own_version: "1.2.3".into(),
            phases: vec![1],
            services: Vec::new(),
            texts: Vec::new(),
            configure: "(call $fine)".into(),
            on_metadata: "(call $keep)".into(),
            on_content: "(call $keep)".into(),
            describe: None,
            core: String::new(),
            imports: String::new(),
            pages: 2,
        }
    }

    /// 0 hold, 1 metadata, 2 content.
    pub(crate) fn phases(mut self, phases: &[u8]) -> Self {
        self.phases = phases.to_vec();
        self
    }

    pub(crate) fn services(mut self, services: &[&str]) -> Self {
        self.services = services.iter().map(|&service| service.into()).collect();
        self
    }

    pub(crate) fn own_version(mut self, version: &str) -> Self {
        self.own_version = version.into();
        self
    }

    /// The version of the contract in its imports.
    pub(crate) fn built_for(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// Puts a text into the guest; gives the two arguments that name it.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> String {
        let at = TEXTS + self.texts.len();
        self.texts.extend(text.as_ref());
        format!("(i32.const {at}) (i32.const {})", text.as_ref().len())
    }

    pub(crate) fn configure(mut self, body: &str) -> Self {
        self.configure = body.into();
        self
    }

    pub(crate) fn on_metadata(mut self, body: &str) -> Self {
        self.on_metadata = body.into();
        self
    }

    /// Also sets the phase.
    pub(crate) fn on_content(mut self, body: &str) -> Self {
        self.on_content = body.into();
        self.phases(&[2])
    }

    /// Code before the manifest is given.
    pub(crate) fn describe(mut self, body: &str) -> Self {
        self.describe = Some(body.into());
        self
    }

    pub(crate) fn core(mut self, items: &str) -> Self {
        self.core += items;
        self
    }

    pub(crate) fn import(mut self, import: &str) -> Self {
        self.imports += import;
        self
    }

    /// The component as text.
    pub(crate) fn wat(&self) -> String {
        let mut guest = self.clone();
        let manifest = guest.manifest();
        let bodies = format!(
            "{manifest}
    (func (export \"configure\") (result i32) (local $i i32) {})
    (func (export \"on-metadata\") (result i32) (local $i i32) (local $j i32) {})
    (func (export \"on-content\") (result i32) (local $i i32) (local $j i32) {})
    {}",
            guest.configure, guest.on_metadata, guest.on_content, guest.core
        );
        let used: Vec<Function> = FUNCTIONS
            .into_iter()
            .filter(|function| bodies.contains(&format!("(call ${} ", function.local)))
            .collect();
        let memory = MEMORY.replace("PAGES", &guest.pages.to_string());
        let mut wat = format!("(component\n{TYPES}{}{}{memory}", imports(&used), guest.imports);
        let mut host = String::new();
        let mut core = String::new();
        for Function { local, interface, name, core: ty, .. } in used {
            wat += &format!(
                "  (core func ${local} (canon lower (func ${interface} \"{name}\")
    (memory (core memory $memory \"memory\")) (realloc (core func $realloc))))\n"
            );
            host += &format!(" (export \"{local}\" (func ${local}))");
            core += &format!("    (import \"host\" \"{local}\" (func ${local} {ty}))\n");
        }
        let texts: String = guest.texts.iter().map(|byte| format!("\\{byte:02x}")).collect();
        wat += &format!(
            "  (core module $main\n{core}{TOOLS}    (data (i32.const {TEXTS}) \"{texts}\")
    {bodies})
  (core instance $main (instantiate $main
    (with \"memory\" (instance $memory)) (with \"host\" (instance{host}))))\n"
        );
        for (name, result) in EXPORTS {
            wat += &format!(
                "  (func (export \"{name}\") (result {result}) (canon lift
    (core func $main \"{name}\") (memory (core memory $memory \"memory\"))))\n"
            );
        }
        wat += ")\n";
        wat.replace("VERSION", guest.version)
    }

    /// The function that gives the manifest, at 512.
    fn manifest(&mut self) -> String {
        let phases = self.phases.clone();
        let mut services = Vec::new();
        for service in self.services.clone() {
            services.push(self.text(service));
        }
        let mut code = String::from("(func (export \"describe\") (result i32) (local $i i32)\n");
        code += self.describe.as_deref().unwrap_or_default();
        let fields = [
            self.text(self.name.clone()),
            self.text(self.own_version.clone()),
            self.text("the tests"),
            self.text("A filter\nfor tests."),
            self.text(phases),
            format!("(i32.const 768) (i32.const {})", services.len()),
        ];
        let mut store = |at: usize, pair: &str| {
            let (pointer, length) = pair.split_once(") ").unwrap();
            code += &format!(
                "      (i32.store (i32.const {at}) {pointer})) (i32.store (i32.const {}) {length})\n",
                at + 4
            );
        };
        for (position, field) in fields.iter().enumerate() {
            store(512 + 8 * position, field);
        }
        for (position, service) in services.iter().enumerate() {
            store(768 + 8 * position, service);
        }
        code + "      (i32.const 512))"
    }

    pub(crate) fn source(&self) -> Source {
        source(&self.wat())
    }

    /// Loads it with small limits.
    pub(crate) fn load(&self) -> Plugin {
        self.try_load().unwrap_or_else(|error| panic!("{error}\n{}", self.wat()))
    }

    pub(crate) fn try_load(&self) -> Result<Plugin, Error> {
        host().load(self.source())
    }
}

/// A component from text, without settings.
pub(crate) fn source(wat: &str) -> Source {
    Source { name: "test.wat".into(), component: wat.into(), settings: Vec::new() }
}

/// Enough for every good guest here, and soon over for the others.
pub(crate) fn limits() -> Limits {
    Limits { memory: 1024 * 1024, fuel: 5_000_000, fuel_per_byte: 100 }
}

pub(crate) fn host() -> Host {
    Host::new(&limits(), None).unwrap()
}

/// A mail with this id.
pub(crate) fn mail(id: &str) -> Item {
    Item {
        id: id.into(),
        service: "mail".into(),
        kind: "message".into(),
        owner: "ann@example.org".into(),
        owner_id: "00000000-0000-0000-0000-000000000001".into(),
        path: "users/ann@example.org/mail/Inbox/a.eml".into(),
        media_type: Some("message/rfc822".into()),
        size: None,
        metadata: Arc::from(
            r#"{"id":"1","receivedDateTime":"2026-01-02T03:04:05Z","subject":"hello"}"#,
        ),
    }
}
