using Tessera.GuestLibrary;

namespace Tessera.Cli.Tests.Guests;

[TestFixture]
internal sealed class HostProcessRunnerTests
{
    private readonly HostProcessRunner _runner = new();

    [Test]
    public async Task Output_error_exit_code_locale_and_folder_are_right()
    {
        ProcessResult result = await _runner.RunAsync("sh", ["-c", "pwd; cat; echo \"$LC_ALL\"; echo bad >&2; exit 3"], "/usr", default);

        Assert.That(result, Is.EqualTo(new ProcessResult(3, "/usr\nC\n", "bad\n")));
    }

    [Test]
    public async Task A_program_that_is_not_there_is_named()
    {
        ProgramMissingException? missing = await Assert.ThrowsAsync<ProgramMissingException>(() => _runner.RunAsync("no-such-program-here", [], null, default));

        Assert.That(missing!.Program, Is.EqualTo("no-such-program-here"));
    }

    [Test]
    public async Task A_file_that_cannot_be_executed_gives_the_shells_exit_code()
        => Assert.That((await _runner.RunAsync("/etc/hostname", [], null, default)).ExitCode, Is.EqualTo(126));

    [Test]
    public async Task Cancelling_ends_the_program()
    {
        using CancellationTokenSource source = new();
        Task<ProcessResult> running = _runner.RunAsync("sleep", ["1000"], null, source.Token);

        await source.CancelAsync();

        await Assert.CatchAsync<OperationCanceledException>(() => running);
    }
}
