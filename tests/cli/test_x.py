def test_it(trained, run):
    print(run("runs", "dot").out)
    print(run("runs", "show", "dot@r1", "--json").out)
