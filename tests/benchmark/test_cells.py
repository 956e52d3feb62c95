"""Numbers and aligned text, as every table shows them."""

from benchmark.cells import aligned, interval, percent


def test_numbers_are_in_percent_and_what_is_not_there_says_so():
    assert percent(0.1234) == "12.3"
    assert percent(0.1234, digits=0) == "12"
    assert percent(0.05, sign="+") == "+5.0"
    assert percent(-0.0001, sign="+") == "+0.0"
    assert percent(None) == percent(float("nan")) == "n/a"
    assert interval((0.1, 0.25)) == "[10.0, 25.0]"
    assert interval((-0.1, 0.25), sign="+") == "[-10.0, +25.0]"
    assert interval(None) == "n/a"


def test_the_first_column_is_to_the_left_and_the_others_to_the_right():
    assert aligned([["a", "1", ""], ["long", "22", "x"]]) == ["a      1", "long  22  x"]
