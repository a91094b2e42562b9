//! temp
#[path = "../tests/suite/guest.rs"]
#[allow(dead_code)]
mod guest;
use plugin_host::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let host = Host::new(&Limits::default(), Some(std::path::Path::new("/tmp/tmpcache"))).unwrap();
    let item = Item {
        metadata: std::fs::read_to_string("/tmp/item.json").unwrap().into(),
        ..guest::mail("1")
    };
    let n: u32 = a[1].parse().unwrap();
    for spec in &a[2..] {
        let (file, settings) = spec.split_once('=').unwrap();
        let plugin = host
            .load(Source {
                name: "x".into(),
                component: std::fs::read(file).unwrap(),
                settings: settings.into(),
            })
            .unwrap();
        let mut best = f64::MAX;
        let mut all = vec![];
        for _ in 0..10 {
            let c = cpu();
            for _ in 0..n {
                let _ = plugin.on_metadata(&item).unwrap();
            }
            let t = (cpu() - c) / f64::from(n);
            best = best.min(t);
            all.push(t);
        }
        all.sort_by(f64::total_cmp);
        eprintln!("{best:.1} us best, {:.1} median  {file} {settings}", all[5]);
    }
}
