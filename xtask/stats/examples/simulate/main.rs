//! Makes the tables of `docs/statistics.md` again: how often the intervals hold the truth, how often something is
//! wrongly called a difference, and how often a true one is found, in made-up experiments.
//!
//!     cargo run --release -p stats --example simulate [-- TIMES [TABLE...]]
//!
//! TIMES is the number of experiments behind each figure (2000). The tables: coverage, claims, power, flags,
//! stopping, missing. The same arguments give the same figures.

mod shapes;
mod stopping;
mod tables;
mod trials;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let times = arguments.next().map_or(Ok(2000), |times| times.parse());
    let Ok(times) = times else {
        eprintln!("TIMES must be a number of experiments, such as 2000");
        std::process::exit(2);
    };
    let wanted: Vec<String> = arguments.collect();
    for (name, table) in tables::ALL {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("{}", table(times));
        }
    }
}
