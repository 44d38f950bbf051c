from tandem.runtime.console import make_console


def test_tables_in_a_pipe_are_120_columns_wide(capsys):
    assert make_console().width == 120
