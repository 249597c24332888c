# Common tasks; `just` without arguments lists them. Every recipe is a command that also works without just.

_list:
    @just --list

# Run the tests; arguments are passed to cargo, such as `just test config::`
test *arguments:
    cargo test --workspace --locked {{ arguments }}

# Check formatting, clippy, scripts and dependencies
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    bash .ci/run scripts dependencies

# Format Rust and Python
fmt:
    cargo fmt --all
    ruff format --config=ci/ruff.toml ci tests benches

# Build the reference of the crates
docs:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

# Run steps of CI, by default all of them; `just ci prepare kubernetes`
ci *steps:
    bash .ci/run {{ steps }}

# Run the exporter with a simulated Graph API; `just demo --fault=denied`
demo *arguments:
    cargo run --release --locked -- demo {{ arguments }}
