# On the machine with the card: `. PARTS/stage.sh` puts the parts together and sets this shell up for
# `python3 -m benchmarks.card`. Run again, it finds everything in place. It ends with status 1, and says what is
# missing, until all parts of SHA256SUMS have come; they may come a few at a time.
#   CARD_ROOT    where to (default: ${TMPDIR:-/tmp}/card)
#   CARD_PARTS   the folder with the parts (default: this file's)
CARD_ROOT=${CARD_ROOT:-${TMPDIR:-/tmp}/card}
CARD_PARTS=${CARD_PARTS:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}

card_unpack() {
    mkdir -p "$CARD_ROOT/parts" || return 1
    [ -f "$CARD_ROOT/staged" ] && return 0
    cp -f "$CARD_PARTS"/SHA256SUMS "$CARD_PARTS"/part-* "$CARD_ROOT/parts/" || return 1
    (cd "$CARD_ROOT/parts" && sha256sum -c --quiet SHA256SUMS) || {
        echo "parts are missing or damaged: bring them, then source this again" >&2
        return 1
    }
    if command -v xz > /dev/null; then
        cat "$CARD_ROOT"/parts/part-* | xz -dc | tar -x -C "$CARD_ROOT" || return 1
    else
        cat "$CARD_ROOT"/parts/part-* | python3 -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")' "$CARD_ROOT" || return 1
    fi
    rm -f "$CARD_ROOT"/parts/part-*
    touch "$CARD_ROOT/staged"
}

# CUDA's libraries come with torch's packages there. onnxruntime looks for them beside itself, the system where it is told.
card_libraries() {
    local nvidia folders
    nvidia=$(python3 -c 'import importlib.util as u
spec = u.find_spec("nvidia")
print(next(iter(spec.submodule_search_locations), "") if spec else "")' 2> /dev/null)
    [ -n "$nvidia" ] || return 0
    [ -e "$CARD_ROOT/site/nvidia" ] || ln -s "$nvidia" "$CARD_ROOT/site/nvidia"
    folders=$(find "$nvidia/" -maxdepth 3 -name 'lib*.so*' -printf '%h\n' 2> /dev/null | sort -u | paste -sd:)
    case ":$LD_LIBRARY_PATH:" in
        *":$folders:"*) ;;
        *) export LD_LIBRARY_PATH="$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" ;;
    esac
}

card_missing() {
    python3 -c 'import importlib.util as u
wanted = "numpy onnxruntime tokenizers PIL rich prompt_toolkit onnx google.protobuf safetensors sentencepiece torch".split()
def there(name):
    try:
        return u.find_spec(name) is not None
    except ImportError:
        return False
missing = [name for name in wanted if not there(name)]
print("missing here: " + ", ".join(missing) + "; pack again with --bring" if missing else "everything is in place")'
}

card_unpack && {
    card_libraries
    export PYTHONPATH="$CARD_ROOT/site:$CARD_ROOT/project" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
    card_missing
    echo "then: cd $CARD_ROOT/project && python3 -m benchmarks.card --work $CARD_ROOT/work --out FOLDER"
}
