"""Which host an allow-list means, in whatever way it is written, and what may be dialled for it."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.config.hosts import AllowList, HostError, as_address, kind_of, normal_host, parse_entry


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("a_b.example.org", "a_b.example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("1.example", "1.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("64:ff9b::7f00:1", "127.0.0.1"),
        ("2002:7f00:1::", "127.0.0.1"),
    ],
)
def test_a_host_has_one_form(text: str, host: str) -> None:
    assert normal_host(text) == host
    assert normal_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", ".a", "a b", "a\tb", "a\nb", "a\0b", "example.org\0.evil.test", "-a.test", "a-.test"),
        *("user@example.org", "example.org/path", "example.org?q", "example.org#f", "example.org\\x", "a%2eb", "a,b"),
        *("bücher.example", "ｅxample.org", "example。org", "\u202eexample.org", "\u212a.example"),
        *("127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.1.1.1", "a.0x"),
        *("fe80::1%eth0", "[fe80::1%25eth0]", "[::1", "::1]", "[127.0.0.1]", "[example.org]", "1::2::3", "a:b"),
        *("x" * 64 + ".test", "a." * 127 + "test"),
    ],
)
def test_what_programs_may_read_in_two_ways_is_no_host(text: str) -> None:
    with pytest.raises(HostError):
        normal_host(text)


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-fx.:\[\]%]{1,40}", fullmatch=True))
def test_any_text_is_a_host_in_its_one_form_or_an_error(text: str) -> None:
    with suppress(HostError):
        host = normal_host(text)
        assert normal_host(host) == host
        assert host == host.lower()
        assert not set(host) & set(" \t\r\n\0%@/\\?#[],")


@given(st.ip_addresses())
def test_an_address_is_read_as_the_address_it_leads_to(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    found = as_address(normal_host(str(address)))
    assert found is not None
    assert kind_of(found) == kind_of(address)


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ("Example.org", "example.org"),
        ("example.org:443", "example.org:443"),
        ("*.Example.org:8080", "*.example.org:8080"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3:5000", "10.1.2.3:5000"),
        ("[::1]:443", "[::1]:443"),
        ("[fd00::/8]:443", "[fd00::/8]:443"),
        (" example.org ", "example.org"),
    ],
)
def test_an_entry_is_written_as_it_is_read(entry: str, written: str) -> None:
    assert str(parse_entry(entry)) == written
    assert parse_entry(written) == parse_entry(entry)


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "*.", "*.org", "*.127.0.0.1", "a.*.org", "*example.org", "**.example.org", "https://example.org"),
        *("example.org:", "example.org:0", "example.org:65536", "example.org:x", "example.org:*", "example.org:-1"),
        *("example.org:٤٤٣", "::1:443", "[::1]443x", "10.0.0.1/8", "10.0.0.0/33", "example.org/8", "0x7f.1", "a b"),
    ],
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(HostError):
        parse_entry(entry)


@pytest.mark.parametrize(
    ("entry", "host", "port", "matches"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 8080, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "example.org.evil.test", 443, False),
        ("example.org", "notexample.org", 443, False),
        ("example.org:8080", "example.org", 8080, True),
        ("example.org:8080", "example.org", 443, False),
        ("*.example.org", "www.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "notexample.org", 443, False),
        ("10.0.0.0/8", "10.2.3.4", 443, True),
        ("10.0.0.0/8", "11.2.3.4", 443, False),
        ("10.0.0.0/8", "10.example.org", 443, False),
        ("[::1]:443", "::1", 443, True),
        ("127.0.0.1", "::1", 443, False),
    ],
)
def test_an_entry_means_its_hosts_and_no_others(entry: str, host: str, port: int, matches: bool) -> None:
    assert AllowList([entry]).admits_name(host, port) is matches


PUBLIC, PRIVATE, ODD, METADATA = "93.184.215.14", "10.1.2.3", "203.0.113.9", "169.254.169.254"


@pytest.mark.parametrize(
    ("entries", "host", "address", "admitted"),
    [
        (["example.org"], "example.org", PUBLIC, True),
        (["*.example.org"], "www.example.org", PUBLIC, True),
        (["example.org"], "example.org", PRIVATE, True),
        (["example.org"], "example.org", ODD, True),
        (["*.example.org"], "www.example.org", PRIVATE, False),
        (["*.example.org"], "www.example.org", ODD, False),
        (["*.example.org", "10.0.0.0/8"], "www.example.org", PRIVATE, True),
        (["example.org"], "example.org", "127.0.0.1", False),
        (["example.org"], "example.org", "::1", False),
        (["example.org"], "example.org", "::ffff:127.0.0.1", False),
        (["example.org"], "example.org", "64:ff9b::7f00:1", False),
        (["example.org", "127.0.0.1"], "example.org", "127.0.0.1", True),
        (["example.org", "127.0.0.1:8080"], "example.org", "127.0.0.1", False),
        (["localhost"], "localhost", "127.0.0.1", True),
        (["localhost"], "localhost", "::1", True),
        (["localhost"], "localhost", METADATA, False),
        (["example.org"], "example.org", METADATA, False),
        (["example.org"], "example.org", "fd00:ec2::254", False),
        (["example.org"], "example.org", "168.63.129.16", False),
        (["example.org"], "example.org", "fe80::1", False),
        (["example.org"], "example.org", "0.0.0.0", False),
        (["example.org"], "example.org", "0.1.2.3", False),
        (["example.org"], "example.org", "::", False),
        (["example.org"], "example.org", "224.0.0.1", False),
        (["example.org"], "example.org", "ff02::1", False),
        (["example.org"], "example.org", "255.255.255.255", False),
        ([METADATA], METADATA, METADATA, True),
        ([PRIVATE], PRIVATE, PRIVATE, True),
        ([PRIVATE], "10.1.2.4", "10.1.2.4", False),
    ],
)
def test_a_name_is_worth_no_more_than_the_address_it_leads_to(
    entries: list[str], host: str, address: str, admitted: bool
) -> None:
    assert AllowList(entries).admits_address(host, ipaddress.ip_address(address), 443) is admitted


@pytest.mark.parametrize(("entries", "admitted"), [(["example.org"], False), (["example.org", PUBLIC], True)])
def test_an_address_of_this_machine_is_reached_by_that_address_alone(entries: list[str], admitted: bool) -> None:
    assert AllowList(entries).admits_address("example.org", ipaddress.ip_address(PUBLIC), 443, own=True) is admitted


@pytest.mark.parametrize(
    ("old", "new", "covered"),
    [
        (["example.org"], [], True),
        ([], ["example.org"], False),
        (["example.org"], ["example.org"], True),
        (["example.org"], ["example.org:443"], True),
        (["example.org:443"], ["example.org"], False),
        (["*.example.org"], ["www.example.org"], True),
        (["*.example.org"], ["*.www.example.org"], True),
        (["*.example.org"], ["example.org"], False),
        (["*.www.example.org"], ["*.example.org"], False),
        (["example.org"], ["*.example.org"], False),
        (["10.0.0.0/8"], ["10.1.0.0/16", "10.2.3.4"], True),
        (["10.1.0.0/16"], ["10.0.0.0/8"], False),
        (["10.0.0.0/8"], ["example.org"], False),
        (["example.org"], ["10.1.2.3"], False),
    ],
)
def test_a_list_covers_what_gives_no_more(old: list[str], new: list[str], covered: bool) -> None:
    assert AllowList(old).covers(AllowList(new)) is covered
