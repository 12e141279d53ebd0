#!/usr/bin/env bash
# Fit the demo clip on the CPU with nerfstudio, export the fit as a .garv, and decode that file. `make demo` runs this.
set -euo pipefail
cd "$(dirname "$0")/.."

# what nerfstudio's own libraries warn their developers of
export PYTHONWARNINGS=ignore::FutureWarning,ignore::UserWarning

clip=examples/data/demo_bunny_320x180_48f.mp4
out=outputs/demo
file=exports/demo_bunny_320x180_48f.garv
rm -rf "$out"
mkdir -p "$out" exports

say() { printf '\n== %s\n' "$*"; }

say "ns-train garv: fit $clip"
ns-train garv --data "$clip" --output-dir "$out" --timestamp fit --machine.device-type cpu --vis tensorboard \
    --max-num-iterations 1000 --pipeline.model.fit.bpp 0.3 --pipeline.model.fit.batch-frames 4 \
    --logging.local-writer.max-log-size 0 --logging.steps-per-log 500 \
    </dev/null | tee "$out/train.log"
fit_seconds=$(sed -n 's/.*Fitted: [0-9]* steps in \([0-9.]*\) s.*/\1/p' "$out/train.log")
config=$(echo "$out"/*/garv/fit/config.yml)

say "ns-export garv: write $file"
ns-export garv --load-config "$config" --output-dir exports </dev/null

say "garv decode: from the .garv alone to $out/decoded.mp4"
garv decode "$file" --output "$out/decoded.mp4" --device cpu

say "garv info"
garv info "$file"

say "what came out; $out/decoded.mp4 is the video to look at"
python examples/benchmarks/measure.py "$clip" "$file" "$out/result.json" \
    --clip demo_bunny --command "make demo" --fit-seconds "$fit_seconds" --device cpu
