"""Contestants: processes that get ready once and then take turns in the same minutes."""
import os, shlex, statistics, subprocess, sys, time


class Failed(Exception):
    pass


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def environment(threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    if not env.get("GOMP_SPINCOUNT") and not env.get("OMP_WAIT_POLICY"):
        env["GOMP_SPINCOUNT"] = "20000"  # as the command line does for itself
    return env


class Contestant:
    """A program with --turns. Its standard error goes to a file of the log folder."""

    def __init__(self, name, command, env, logs):
        self.name, self.command = name, [str(word) for word in command]
        self.log = os.path.join(logs, name.replace(" ", "-").replace("/", "-") + ".log")
        with open(self.log, "w") as log:
            print("$", shlex.join(self.command), file=log, flush=True)
            self.process = subprocess.Popen(
                self.command, env=env, text=True, bufsize=1, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log)
        if self.process.stdout.readline() != "ready\n":
            self.fail()

    def fail(self):
        self.stop()
        with open(self.log, errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
        raise Failed(lines[-1] if len(lines) > 1 else f"ended with {self.process.returncode}")

    def turn(self):
        """The turn's line of JSON."""
        try:
            self.process.stdin.write("\n")
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line.startswith("{"):
            self.fail()
        return line

    def stop(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Whole:
    """A program that is measured from its start to its end, once a turn."""

    def __init__(self, name, command, env, logs):
        self.name, self.command, self.env = name, [str(word) for word in command], env
        self.log = os.path.join(logs, name.replace(" ", "-") + ".log")
        self.turn()  # everything it reads is in the page cache from now on

    def turn(self):
        with open(self.log, "w") as log:
            print("$", shlex.join(self.command), file=log, flush=True)
            begun = time.perf_counter()
            code = subprocess.run(self.command, env=self.env, stdout=log, stderr=log).returncode
            seconds = time.perf_counter() - begun
        if code:
            with open(self.log, errors="replace") as log:
                raise Failed(log.read().strip().splitlines()[-1])
        return f'{{"median_ms": {1e3 * seconds}}}'

    def stop(self):
        pass


def alternate(contestants, rounds, parse):
    """Every contestant's turns, by name: in odd rounds in one order, in even ones in the other.
    One that fails has the sentence that it left in place of its turns."""
    turns = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order if number % 2 == 0 else order[::-1]:
            if isinstance(turns[name], str):
                continue
            try:
                turns[name].append(parse(contestants[name].turn()))
            except Failed as e:
                turns[name] = str(e)
                say(f"{name}: {e}")
    return turns


def median(turns, key):
    return statistics.median(turn[key] for turn in turns)
