"""Search the pages as the browser does: ``python -m docs.search docs/_build PHRASE ...``.

For whoever writes a page: the results are those of Sphinx's ``searchtools.js``, in its order.
"""

import json
import pathlib
import re
import sys

from sphinx.search.en import SearchEnglish

#: The scores of a match, as in searchtools.js.
OBJECT_NAME = 11
OBJECT_PART = 6
OBJECT_PRIORITY = {0: 15, 1: 5, 2: -5}
TITLE = 15
TITLE_PART = 7
TERM = 5
TERM_PART = 2
INDEX = 100


def words_of(text: str) -> list[str]:
    """Split a text as Sphinx does."""
    return re.findall(r"\w+", text.lower())


class Search:
    """Sphinx's search of built pages, as the browser runs it.

    A phrase is looked up in the titles, in the entries of the index, in the names of objects and
    in the terms of all pages. Each match is a result, and the best score comes first.
    """

    def __init__(self, html: pathlib.Path) -> None:
        """Read the index of pages that were built."""
        text = (html / "searchindex.js").read_text()
        self.index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
        self.html = html
        self.language = SearchEnglish({})

    def pages(self, phrase: str) -> list[str]:
        """Return the page of each result, in the order in which they are shown."""
        found = [
            *self.titles(phrase.lower()),
            *self.entries(phrase.lower()),
            *self.objects(words_of(phrase)),
            *self.terms(phrase),
        ]
        # If two scores are equal, the title decides.
        found.sort(key=lambda result: (-result[0], result[1].lower()))
        results = list(dict.fromkeys((title, place) for _, title, place in found))
        return [place.partition("#")[0] for _, place in results]

    def result(self, score: int, page: int, title: str, anchor: str) -> tuple[int, str, str]:
        """Return a result: its score, its title and its place."""
        return score, title, f"{self.index['docnames'][page]}#{anchor or ''}"

    def titles(self, phrase: str) -> list[tuple[int, str, str]]:
        """Return the sections whose title holds the phrase, if it is half of the title."""
        found = []
        for title, places in self.index["alltitles"].items():
            if phrase not in title.lower() or len(phrase) < len(title) / 2:
                continue
            for page, anchor in places:
                of_page = self.index["titles"][page]
                score = rounded(TITLE * len(phrase) / len(title)) + (of_page == title)
                name = title if of_page == title else f"{of_page} > {title}"
                found.append(self.result(score, page, name, anchor))
        return found

    def entries(self, phrase: str) -> list[tuple[int, str, str]]:
        """Return the places that an index entry leads to, if the phrase is half of the entry."""
        found = []
        for entry, places in self.index["indexentries"].items():
            if phrase not in entry or len(phrase) < len(entry) / 2:
                continue
            for page, anchor, is_main in places:
                # Those that are not main come after all other results.
                score = rounded(INDEX * len(phrase) / len(entry)) - (0 if is_main else 1000)
                found.append(self.result(score, page, self.index["titles"][page], anchor))
        return found

    def objects(self, words: list[str]) -> list[tuple[int, str, str]]:
        """Return the objects in whose name a word is, if their description has the other words."""
        found = []
        for prefix, members in self.index["objects"].items():
            for page, kind, priority, anchor, name in members:
                full = f"{prefix}.{name}" if prefix else name
                kind_name = self.index["objnames"][str(kind)][2]
                title = self.index["titles"][page]
                described = f"{prefix} {name} {kind_name} {title}".lower()
                for word in set(words):
                    others = set(words) - {word}
                    if word in full.lower() and all(other in described for other in others):
                        score = name_score(full.lower(), word) + OBJECT_PRIORITY.get(priority, 0)
                        found.append(self.result(score, page, full, anchor))
        return found

    def terms(self, phrase: str) -> list[tuple[int, str, str]]:
        """Return the pages that have all words; the best match of a word is the score of a page."""
        words = {
            self.language.stem(word)
            for word in words_of(phrase)
            if word not in self.language.stopwords and not word.isdigit()
        }
        scores = [self.pages_with(word) for word in words]
        scores = [of_word for of_word in scores if of_word]
        long_words = sum(len(word) > 2 for word in words)
        found = []
        for page, title in enumerate(self.index["titles"]):
            hits = [of_word[page] for of_word in scores if page in of_word]
            if hits and len(hits) in (len(words), long_words):
                found.append(self.result(max(hits), page, title, ""))
        return found

    def pages_with(self, word: str) -> dict[int, int]:
        """Return the score of each page that has a word; a later kind of match overrides.

        A word that no page has is looked for inside of the words that pages have.
        """
        exact_score = {"terms": TERM, "titleterms": TITLE}
        part_score = {"terms": TERM_PART, "titleterms": TITLE_PART}
        scores: dict[int, int] = {}
        for kind, score in exact_score.items():
            pages = self.index[kind].get(word, [])
            scores |= dict.fromkeys(as_list(pages), score)
        if len(word) <= 2:
            return scores
        for kind, score in part_score.items():
            if word in self.index[kind]:
                continue
            for term, pages in self.index[kind].items():
                if word in term:
                    scores |= dict.fromkeys(as_list(pages), score)
        return scores

    def text(self, page: str) -> str:
        """Return the text of a page that a reader sees, without the navigation."""
        source = (self.html / f"{page}.html").read_text()
        (article,) = re.findall(r'<article role="main".*?</article>', source, re.DOTALL)
        return re.sub(r"<[^>]*>", "", article)


def rounded(score: float) -> int:
    """Round a half up, as JavaScript does."""
    return int(score + 0.5)


def as_list(pages: int | list[int]) -> list[int]:
    """Return a list of pages; the index has a number for one page."""
    return pages if isinstance(pages, list) else [pages]


def name_score(full: str, word: str) -> int:
    """Return the score of a name in which a word is."""
    last = full.rpartition(".")[2]
    if word in (full, last):
        return OBJECT_NAME
    return OBJECT_PART if word in last else 0


def main() -> None:
    """Print the pages of the first three results of each phrase."""
    folder, *phrases = sys.argv[1:]
    search = Search(pathlib.Path(folder))
    for phrase in phrases:
        print(f"{phrase}: {', '.join(search.pages(phrase)[:3])}")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
