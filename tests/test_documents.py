"""Documents are plain: short sentences, words of the field, links that lead somewhere, small pictures."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tokenize

import pytest

from tests.documents import DOCUMENTS, ROOT, text
from tests.sentences import sentences, words

#: Words that readers of the field would have to translate, and how they are said instead.
INVENTED = {
    r"harm(s|ful|ed)?": "sensitivity, effect on the output",
    r"heed(s|ed|ing)?": "uses the input covariance",
    r"(was|were|is|are) told": "given, requested",
    r"bells?": "Gauss and Gabor activations",
    r"fullness": "constraint ratio",
    r"allowances?": "distortion limit",
    r"rivals?": "candidates, alternatives",
    r"wishes": "targets",
    r"nearing": "polishing",
    r"judg(e|ed|ing|ement|ements)": "evaluated, measured",
    r"tall(y|ies)": "partial score",
    r"crew": "thread pool",
    r"pric(e|es|ed)": "Lagrange multiplier",
    r"watch(es|ed|ing)?": "records the layers' inputs",
    r"tokens?": "rANS levels",
    r"start distributions?": "prior",
}


#: Those that stand for nothing else in code either: in its names, comments and docstrings.
OLD = re.compile(
    r"(?<![a-z])(told|heed(s|ed|ing)?|harm(s|ful|ed)?|rivals?|fullness|levelled|wishes|nearing|bells?|sizing|of_a_bit"
    r"|tall(y|ies)|judg(e|es|ed|ing|ements?))(?![a-z])",
    re.IGNORECASE,
)

SOURCES = [
    path
    for folder in ("coinr", "kernels", "csrc", "bench", "examples", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".pyi", ".hpp", ".cpp", ".inc")
    and path.name != "test_documents.py"
    and "cache" not in path.relative_to(ROOT).parts
]


def spoken(path):
    """Return the names, comments and docstrings of a source; all of one in C++."""
    source = path.read_text()
    if path.suffix not in (".py", ".pyi") or not OLD.search(source):
        return source
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    said = (tokenize.NAME, tokenize.COMMENT)
    return "\n".join(t.string for t in tokens if t.type in said or t.string.startswith('"""'))


def test_code_speaks_in_words_of_the_field():
    assert len(SOURCES) > 400
    found = {path.relative_to(ROOT).as_posix(): [m[0] for m in OLD.finditer(spoken(path))] for path in SOURCES}
    assert {path: words for path, words in found.items() if words} == {}


def test_old_words_are_found(tmp_path):
    source = 'def row_harms(told):\n    """Judge a rival."""  # as heeded\n    return \'harm\'\n'
    (tmp_path / "a.py").write_text(source)
    assert [m[0] for m in OLD.finditer(spoken(tmp_path / "a.py"))] == ["harms", "told", "Judge", "rival", "heeded"]


def test_sentences_are_measured():
    document = (
        "# No heading\n\nOne two. Three `f(x) + 1` five, e.g. Six.\n\n- Seven\n- [eight](x.md) nine\n\n| no | table |\n"
    )
    assert [words(one) for one in sentences(document)] == [2, 5, 1, 2]
    assert sentences("```\nnot this. Nor this.\n```\n") == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_sentences_are_short(page):
    counts = [words(sentence) for sentence in sentences(text(page))]
    assert sum(counts) <= 20 * len(counts)
    assert [sentence for sentence in sentences(text(page)) if words(sentence) > 40] == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_words_are_those_of_the_field(page):
    prose = re.sub(r"^```.*?^```|`[^`]*`", "", text(page), flags=re.DOTALL | re.MULTILINE)
    found = {said for said in INVENTED if re.search(rf"\b{said}\b", prose, re.IGNORECASE)}
    assert {said: instead for said, instead in INVENTED.items() if said in found} == {}


def test_the_readme_is_short():
    lines = text("README.md").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 130 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page))
    folder = (ROOT / page).parent
    assert [target for target in targets if not (folder / target).exists()] == []


def test_every_page_is_linked():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\((\w+\.md)\)", text("docs/index.md"))) == pages


def test_pictures_are_few_and_small():
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg")]
    shown = {name for page in DOCUMENTS for name in re.findall(r"images/([\w.-]+)\)", text(page))}
    assert {path.name for path in pictures} == shown
    assert len(pictures) <= 6
    assert max(path.stat().st_size for path in pictures) <= 100_000


def tracked():
    """Return the files that git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def test_plots_are_not_tracked():
    results = [name for name in tracked() if name.startswith("bench/results/")]
    assert results
    assert {name.rpartition(".")[2] for name in results} == {"csv", "json", "md"}
    assert sum((ROOT / name).stat().st_size for name in results) < 750_000


@pytest.mark.slow
def test_the_source_distribution_is_small_and_carries_no_results(tmp_path):
    copy = tmp_path / "copy"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, copy]
    subprocess.run(command, check=True, capture_output=True)
    [made] = tmp_path.glob("*.tar.gz")
    assert made.stat().st_size < 1_500_000
    with tarfile.open(made) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"README.md", "FORMAT.md", "SECURITY.md", "CITATION.cff", "docs/index.md", "csrc/entropy/exact.hpp"} <= set(
        names
    )
    assert [name for name in names if name.startswith("bench/results")] == []
