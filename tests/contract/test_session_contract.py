"""What a cell must do, whatever engine its session stands on: values, errors, output."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time

import pytest
from sandboxes import opened, text_of, value

from chorus_nb.agent.wire import Message
from chorus_nb.engines.base import Engine
from chorus_nb.sandbox import Sandbox

ANSI = re.compile(r"\x1b\[[0-9;]*m")


# State and results


def test_state_lives_from_cell_to_cell(sandbox: Sandbox) -> None:
    value(sandbox, "x = 20\ndef double(n): return 2 * n")
    value(sandbox, "import math")
    assert value(sandbox, "double(x) + math.floor(2.5)") == "42"


def test_the_result_is_the_last_expression_and_not_what_was_printed(sandbox: Sandbox) -> None:
    result = sandbox.run("print('text')\n'value'")
    assert (result.ok, result.stdout, result.outputs) == (True, "text\n", [])
    assert result.result is not None
    assert result.result.data == {"text/plain": "'value'"}


@pytest.mark.parametrize("code", ["", "x = 1", "None", "1;", "# nothing"])
def test_cells_without_a_value(sandbox: Sandbox, code: str) -> None:
    result = sandbox.run(code)
    assert (result.ok, result.result, result.stdout, result.stderr) == (True, None, "", "")


def test_the_execution_count_goes_up(sandbox: Sandbox) -> None:
    counts = []
    for _ in range(3):
        outcome = sandbox._session.execute("1", on_message=lambda _: None)
        counts.append(outcome.reply["execution_count"])
    assert counts == [1, 2, 3]


def test_text_of_any_script_passes(sandbox: Sandbox) -> None:
    text = "κύβος 立方体 🧊 é"
    assert sandbox.run(f"print({text!r}); {text!r}").stdout == text + "\n"


def test_a_lone_surrogate_does_no_harm(sandbox: Sandbox) -> None:
    assert sandbox.run(r"print('a\ud800b')").ok
    assert value(sandbox, "1") == "1"


def test_top_level_await(sandbox: Sandbox) -> None:
    assert value(sandbox, "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'") == "'awaited'"


def test_the_namespace_holds_no_names_of_ours(sandbox: Sandbox) -> None:
    code = "import sys\nsorted(n for n in [*globals(), *sys.path] if 'chorus' in n.lower() or 'agent' in n.lower())"
    assert value(sandbox, code) == "[]"


def test_libraries_find_jupyter(sandbox: Sandbox) -> None:
    assert value(sandbox, "get_ipython().__class__.__name__") == "'ZMQInteractiveShell'"


def test_input_asks_and_says_where_it_can_not(sandbox: Sandbox) -> None:
    asked = []

    def answer(prompt: str, password: bool) -> str:
        asked.append((prompt, password))
        return "κύβος"

    result = sandbox.run("import getpass\nprint(input('name? '), getpass.getpass())", on_input=answer)
    assert (result.stdout, asked) == ("κύβος κύβος\n", [("name? ", False), ("Password: ", True)])
    refused = sandbox.run("input('name? ')")
    assert refused.error is not None
    assert refused.error.ename == "StdinNotImplementedError"


# Errors


def test_an_error_shows_the_lines_of_the_cell_and_no_frame_of_ours(sandbox: Sandbox) -> None:
    result = sandbox.run("def inner(n):\n    return 1 / n\n\nprint('before')\ninner(0)")
    text = ANSI.sub("", text_of(result))
    assert not result.ok
    assert result.stdout == "before\n"
    assert result.error is not None
    assert (result.error.ename, result.error.evalue) == ("ZeroDivisionError", "division by zero")
    assert "return 1 / n" in text
    assert "inner(0)" in text
    assert "_chorus_agent" not in text


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("def f(:", "SyntaxError"),
        ("  x = 1\n y = 2", "IndentationError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException('bare')", "BaseException"),
        ("def f(): f()\nf()", "RecursionError"),
        ("%no_such_magic", None),
        ("class Bad(Exception):\n    def __str__(self): raise ValueError('in str')\nraise Bad", None),
        ("class Loud:\n    def __repr__(self): raise ValueError('in repr')\nLoud()", None),
    ],
)
def test_every_way_to_fail_leaves_the_session_usable(sandbox: Sandbox, code: str, name: str | None) -> None:
    sandbox.run("kept = 7")
    result = sandbox.run(code)
    if name is not None:
        assert result.error is not None
        assert result.error.ename == name
    assert value(sandbox, "kept") == "7"


# Output


def test_what_is_printed_arrives_while_the_cell_runs(sandbox: Sandbox) -> None:
    arrived: list[float] = []
    code = "import time\nprint('first')\ntime.sleep(1.5)\nprint('second')"
    sandbox._session.execute(code, on_message=lambda _: arrived.append(time.monotonic()))
    assert len(arrived) == 2
    assert arrived[1] - arrived[0] > 0.7


def test_streams_keep_their_order(sandbox: Sandbox) -> None:
    code = """
import os, subprocess, sys
print("1 out")
print("2 err", file=sys.stderr)
sys.stdout.write("3 out\\n")
subprocess.run(["echo", "4 child"])
print("5 out")
os.system("echo 6 shell >&2")
print("7 out")
subprocess.run("echo 8 child; echo 9 child", shell=True)
print("10 out")
display("11 display")
print("12 out")
"""
    seen = []

    def note(message: Message) -> None:
        content = message.content
        seen.append(content["text"] if message.msg_type == "stream" else content["data"]["text/plain"] + "\n")

    sandbox._session.execute(code, on_message=note)
    numbers = [int(number) for number in re.findall(r"(\d+) (?:out|err|child|shell|display)", "".join(seen))]
    assert numbers == list(range(1, 13))


def test_c_code_and_descriptors_reach_the_output(sandbox: Sandbox) -> None:
    code = """
import ctypes, os, sys
os.write(1, b"descriptor 1\\n")
os.write(2, b"descriptor 2\\n")
sys.stdout.buffer.write(b"buffer\\n")
libc = ctypes.CDLL(None)
libc.puts(b"puts")
libc.fflush(None)
with open("/dev/stdout", "w") as file: file.write("file\\n")
"""
    result = sandbox.run(code)
    assert sorted(result.stdout.splitlines()) == ["buffer", "descriptor 1", "file", "puts"]
    assert result.stderr == "descriptor 2\n"


def test_bytes_that_are_no_text_are_replaced(sandbox: Sandbox) -> None:
    assert sandbox.run("import os; os.write(1, b'a\\xff\\xfeb')").stdout == "a��b"


def test_output_of_threads_and_forks(sandbox: Sandbox) -> None:
    code = """
import os, threading
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
if (pid := os.fork()) == 0:
    print("fork", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent")
"""
    result = sandbox.run(code)
    assert sorted(result.stdout.split()) == ["fork", "parent", "thread"]


def test_a_multiprocessing_pool_works(sandbox: Sandbox) -> None:
    code = """
import multiprocessing
def square(n): return n * n
with multiprocessing.get_context("fork").Pool(2) as pool:
    squares = pool.map(square, range(5))
squares
"""
    assert value(sandbox, code) == "[0, 1, 4, 9, 16]"


def test_replaced_streams_are_put_back_for_the_next_cell(sandbox: Sandbox) -> None:
    sandbox.run("import io, sys\nsys.stdout = io.StringIO()\nsys.stderr = None\nprint('swallowed')")
    result = sandbox.run("print('out'); print('err', file=sys.stderr)")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_closed_stdout_does_not_end_the_session(sandbox: Sandbox) -> None:
    sandbox.run("import sys; sys.stdout.close()")
    sandbox.run("1")
    assert value(sandbox, "2") == "2"


def test_display_update_and_clear(sandbox: Sandbox) -> None:
    code = """
from IPython.display import HTML, clear_output, display
handle = display(HTML("<b>one</b>"), display_id=True)
handle.update(HTML("<b>two</b>"))
clear_output(wait=True)
"""
    messages: list[Message] = []
    sandbox._session.execute(code, on_message=messages.append)
    assert [message.msg_type for message in messages] == ["display_data", "update_display_data", "clear_output"]
    shown, updated, cleared = (message.content for message in messages)
    assert shown["data"]["text/html"] == "<b>one</b>"
    assert updated["data"]["text/html"] == "<b>two</b>"
    assert shown["transient"]["display_id"] == updated["transient"]["display_id"] != ""
    assert cleared == {"wait": True}


def test_output_beyond_the_limit_is_dropped_with_a_notice(sandbox: Sandbox) -> None:
    result = sandbox.run("for _ in range(2**14): print('x' * 1023)")
    assert len(result.stdout) <= 10 * 2**20
    assert result.stdout.startswith("xxx")
    assert "dropped" in result.stderr
    assert value(sandbox, "'usable'") == "'usable'"


def test_output_of_a_program_beyond_the_limit_is_dropped_with_a_notice(sandbox: Sandbox) -> None:
    result = sandbox.run("import subprocess; subprocess.run('yes | head -c 64M', shell=True); print('end')")
    assert len(result.stdout) <= 10 * 2**20
    assert "dropped" in result.stderr


def test_a_result_too_large_to_show_is_dropped_and_named(sandbox: Sandbox) -> None:
    result = sandbox.run("class Big:\n    def __repr__(self): return 'x' * (20 * 2**20)\nBig()")
    assert result.ok
    assert "text/plain of 20.0 MiB is not shown" in result.stderr


def test_a_traceback_that_is_only_shown_is_no_failure(sandbox: Sandbox) -> None:
    shown = "try: 1 / 0\nexcept ZeroDivisionError: get_ipython().showtraceback()\n'went on'"
    result = sandbox.run(shown)
    assert (result.ok, result.error) == (True, None)
    assert "ZeroDivisionError" in result.stderr


def test_the_interpreter_of_the_cells_was_started_without_options(sandbox: Sandbox) -> None:
    flags = "(sys.flags.isolated, sys.flags.no_site, sys.flags.ignore_environment, sys.flags.no_user_site)"
    assert value(sandbox, f"import subprocess, sys\n{flags}") == "(0, 0, 0, 0)"
    assert not {"-I", "-S", "-E", "-s"} & set(
        ast.literal_eval(value(sandbox, "subprocess._args_from_interpreter_flags()"))
    )


def test_variables_that_python_reads_at_its_start_are_heeded(engine: Engine) -> None:
    with opened(engine, env={"PYTHONHASHSEED": "7", "PYTHONPATH": "/some/where"}) as sandbox:
        expected = subprocess.check_output(
            [sys.executable, "-c", "print(hash('text'))"], env={"PYTHONHASHSEED": "7"}, text=True
        )
        assert value(sandbox, "hash('text')") == expected.strip()
        assert value(sandbox, "import sys\n'/some/where' in sys.path") == "True"
        assert value(sandbox, "sys.flags.hash_randomization, sys.flags.isolated") == "(1, 0)"
