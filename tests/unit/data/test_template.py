"""A chat template from a stranger can neither reach out, nor run away, nor fill the memory."""

from __future__ import annotations

import time
import tracemalloc
from importlib import resources

import pytest
from jinja2 import TemplateError

from personatune.data import template
from personatune.errors import ModelError

TALK = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes."}]
KNOWN = [path.read_text("utf-8") for path in resources.files("personatune.models").joinpath("templates").iterdir()]

RUNAWAYS = {
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops over texts": "{% set x = 'a' * 100000 %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
    "a long range": "{% for a in range(10 ** 12) %}{% endfor %}",
    "a text times a number": "{{ 'a' * 10000000000 }}",
    "a list times a number": "{{ [0] * 10000000000 }}",
    "doubling": "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling by ~": "{% set n = namespace(x='aaaa') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "powers": "{{ 9 ** 9 ** 9 }}",
    "wide by a method": "{{ 'a'.ljust(10000000000) }}",
    "wide by a filter": "{{ 'a' | center(10000000000) }}",
    "wide by an indent": "{{ 'a' | indent(10000000000) }}",
    "wide by a format": "{{ '%10000000000d' % 1 }}",
    "replaced into growth": "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}",
    "joined into growth": "{% set x = 'a' * 100000 %}{{ ([x] * 99999) | join }}",
    "joined by a method": "{% set x = 'a' * 100000 %}{{ x.join(['a'] * 99999) }}",
    "replaced by a filter": "{% set x = 'a' * 100000 %}{{ x | replace('a', x) }}",
    "written without end": "{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}",
    "calling itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}


# Where the end comes in a finaliser, Python says so and drops it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", RUNAWAYS)
def test_a_runaway_is_refused_soon_and_in_little_memory(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(template, "SECONDS", 0.5)
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ModelError, match="chat template is not run") as caught:
        template.refuse_runaway(RUNAWAYS[kind], {})
    assert time.monotonic() - began < 15
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch /tmp/owned') }}",
        "{{ messages.append(1) }}",
        "{{ lipsum.__globals__ }}",
    ],
)
def test_nothing_is_reached_or_changed(text):
    made = template.compiled(text)
    talk = [*TALK]
    try:
        said = template.fill(made, {"messages": talk})
    except (ModelError, TemplateError):
        said = ""
    assert talk == TALK
    assert "class" not in said and "module" not in said and "function" not in said


@pytest.mark.parametrize("text", KNOWN)
def test_what_models_bring_along_passes(text):
    template.refuse_runaway(text, {"bos_token": "<bos>", "eos_token": "<eos>"})


def test_a_refusal_of_the_template_itself_is_no_runaway():
    template.refuse_runaway("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(TemplateError, match="alternate"):
        template.fill(template.compiled("{{ raise_exception('roles must alternate') }}"), {})


def test_what_templates_use_works():
    text = (
        "{%- for m in messages %}{%- if loop.last %}{% continue %}{% endif %}"
        "{{ bos_token ~ m['role'] ~ ': ' ~ m.content | trim ~ '\\n' * 2 }}{%- endfor %}"
        "{% generation %}{{ messages | tojson }}{% endgeneration %}{{ strftime_now('%Y') | length }}{{ 7 % 4 }}"
    )
    said = template.fill(template.compiled(text), {"messages": TALK, "bos_token": "<s>"})
    assert said.startswith("<s>user: Hello\n\n")
    assert '"Yes."' in said
    assert said.endswith("43")


def test_a_template_that_is_too_long_is_refused():
    with pytest.raises(ModelError, match="characters"):
        template.compiled("a" * (template.LONGEST + 1))
