"""Renders chat templates with Python's Jinja2, set up as `transformers` does, and writes what came out to golden.json.

    python3 make_golden.py        # needs jinja2 only

The templates are written for this test in the styles of published ones; each exercises what its style is known for.
"""

import json
import pathlib

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %} ... {% endgeneration %}` prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )

    def raise_exception(message):
        raise TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


HEADERS = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "Functions:\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role in ['user', 'assistant'] %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

CHATML = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

INST = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('user and assistant must take turns, the user first') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token }}
    {%- else %}
        {{- raise_exception("the role is neither user nor assistant: " + message.role) }}
    {%- endif %}
{%- endfor %}
"""

BARS = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set all = namespace(system='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{% set all.system = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{all.system}}"
    "{%- for message in messages %}{%- if message['role'] == 'user' %}{{'<|User|>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is not none %}"
    "{{'<|Assistant|>' + message['content'] + eos_token}}{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt %}{{'<|Assistant|>'}}{% endif %}"
)

# Whitespace around blocks, training marks, printing of Python's own words, and loop controls.
ODDS = """\
   {% for message in messages %}
  {% if message.role == 'assistant' %}
{% generation %}
    [{{ message.content }}]
  {%- endgeneration -%}
  {% elif message.role == 'skip' %}
    {% continue %}
  {% elif message.role == 'stop' %}
    {% break %}
  {% else %}
({{ message.content | upper }}{{ loop.previtem is defined }})
  {% endif %}
{% endfor %}
{{ none }} {{ true }} {{ 7 // 2 }} {{ 7 / 2 }} {{ missing }}{{ documents is none }} {{ "x" * 3 }}
{{ {"b": 1, "a": ["\u00e9<", 'q"', none, true, 1.5]} | tojson }}
{{ {"b": 1, "a": "\u00e9\U0001f600"} | tojson(ensure_ascii=true, sort_keys=true) }}
{{ {} | tojson(indent=2) }}{{ [1, {"k": []}] | tojson(indent=2) }}
{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}
{{ twice("ab") }}{{ messages | map(attribute='role') | join(',') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ " a b ".strip().title() }}{{ "k" in {"k": 1} }}{% for k, v in {"p": 1, "q": 2}.items() %}{{ k }}={{ v }};{% endfor %}
{{ {"it's": ["a\\n\u00e9", 'q"', none, true, 1.5, {}], "k": "'\\""} }}{{ [] }}{{ [1, "a"] | string | length }}{{ none is iterable }}{{ "s" is iterable }}{{ [] is iterable }}
{{ "a,b".split(",") | last }}{{ "text".replace("t", "T") }}
"""

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
SYSTEM = {"role": "system", "content": " Be brief. "}
USER = {"role": "user", "content": "Hi <there> \u00e9\U0001f600 & \"you\"\n"}
REPLY = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello."}
AGAIN = {"role": "user", "content": "again"}
TOOLS = [{"type": "function", "function": {"name": "z", "description": "n\u00e4chste <b>", "parameters": {
    "type": "object", "properties": {"q": {"type": "string"}, "a": {"type": "integer", "enum": [1, 2]}}, "required": []}}}]
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"type": "function", "function": {"name": "z", "arguments": {"q": "x", "a": 1}}}]}
RESULT = {"role": "tool", "content": "42"}
STRUCTURED = {"role": "tool", "content": {"z": 1, "a": [1, "\u00fc"]}}

CASES = [
    ("headers", HEADERS, [
        ([USER], True, {}), ([SYSTEM, USER, REPLY, AGAIN], True, {}), ([USER, CALL | {"content": ""}, STRUCTURED], True, {"tools": TOOLS}),
        ([USER], False, {"date_string": "1 Jan 2030"}), ([USER, {"role": "assistant"}], True, {}),
    ]),
    ("chatml", CHATML, [
        ([USER], True, {}), ([SYSTEM, USER, REPLY, AGAIN], True, {}), ([SYSTEM, USER, REPLY], False, {}),
        ([SYSTEM, USER, CALL, RESULT, RESULT], True, {"tools": TOOLS}), ([USER], True, {"enable_thinking": False}),
        ([USER, CALL, RESULT, REPLY], False, {"tools": TOOLS}),
    ]),
    ("inst", INST, [
        ([USER], True, {}), ([SYSTEM, USER, REPLY, AGAIN], True, {}), ([USER, AGAIN], True, {}),
        ([USER, {"role": "critic", "content": "no"}], True, {}), ([USER, SYSTEM], True, {}),
    ]),
    ("bars", BARS, [([USER], True, {}), ([SYSTEM, USER, REPLY, AGAIN], True, {}), ([USER, CALL], False, {})]),
    ("odds", ODDS, [
        ([USER, REPLY, AGAIN], False, {}),
        ([USER, {"role": "skip"}, REPLY, {"role": "stop"}, AGAIN], False, {"missing": "here"}),
    ]),
]


def render(template, messages, prompt, extra):
    context = {"tools": None, "documents": None} | TOKENS | extra
    try:
        text = environment().from_string(template).render(messages=messages, add_generation_prompt=prompt, **context)
        return {"text": text}
    except TemplateError as error:
        kind = "refused" if type(error) is TemplateError else "failed"
        return {kind: str(error)}


golden = [
    {"name": name, "template": template, "tokens": TOKENS, "cases": [
        {"messages": messages, "add_generation_prompt": prompt, "extra": extra, "expected": render(template, messages, prompt, extra)}
        for messages, prompt, extra in cases]}
    for name, template, cases in CASES
]
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
