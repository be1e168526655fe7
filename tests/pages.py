"""What a page that ftkit writes may hold: nothing that loads or runs."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Collect what a page would load, run or show."""

    def __init__(self):
        super().__init__()
        self.names, self.attributes, self.text = set(), [], []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def shown(html: str) -> str:
    """Give the text of a page that loads nothing and runs nothing."""
    tags = Tags()
    tags.feed(html)
    assert not tags.names & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    names = {name for name, _ in tags.attributes}
    assert not [name for name in names if name.startswith("on")]
    assert not names & {"src", "href", "srcdoc", "action"}
    assert "url(" not in html
    assert "@import" not in html
    return "".join(tags.text)
