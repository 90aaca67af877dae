using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Terminal;

/// <summary>What cannot be written to standard output is said with an exit code; what cannot be written to standard error is borne.</summary>
internal sealed class StandardWritersTests
{
    [TestCase(">/dev/full", "No space left")]
    [TestCase("pipe", "closed by its reader")]
    public void Standard_output_that_fails_ends_with_1_and_a_sentence(string redirection, string says)
    {
        // A pipe whose only reader has gone before anything is written.
        string program = redirection == "pipe"
            ? $"mkfifo p; exec 3<>p; exec 4>p; exec 3<&-; dotnet {Child.Program} guest list 1>&4"
            : $"dotnet {Child.Program} guest list {redirection}";
        string folder = Directory.CreateTempSubdirectory("tw").FullName;
        (int code, string _, string error) = Child.Run("/bin/bash", folder, [], "", "-c", program);
        Directory.Delete(folder, recursive: true);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Failed), error);
            Assert.That(error, Does.Contain("standard output").And.Contain(says));
            Assert.That(error, Does.Not.Contain("   at ").And.Not.Contain("should not have happened"));
        });
    }

    [Test]
    public void Standard_error_that_fails_costs_nothing()
    {
        (int code, string output, string _) = Child.Run("/bin/bash", "/", [], "", "-c", $"dotnet {Child.Program} simulate {Repository.Sample("quickstart.json")} --seconds 1 2>/dev/full");
        Assert.That(code, Is.Zero);
        Assert.That(output, Does.Contain("points off"));
    }

    [Test]
    public void A_writer_over_a_stream_that_fails_throws_for_output_and_not_for_errors()
    {
        using FullStream full = new();
        Assert.That(() => StandardWriters.Over(full, isOutput: true).WriteLine("x"), Throws.TypeOf<OutputException>().With.Message.Contains("No space"));
        Assert.That(() => StandardWriters.Over(full, isOutput: false).WriteLine("x"), Throws.Nothing);
    }

    [TestCase("a  \nb   \r\n  c  d \n   ", "a\nb\r\n  c  d\n")]
    public void Blanks_at_the_ends_of_lines_are_dropped(string text, string expected)
    {
        using StringWriter target = new();
        using TrimmedWriter writer = new(target);
        foreach (char letter in text)
            writer.Write(letter);
        Assert.That(target.ToString(), Is.EqualTo(expected));
    }

    [Test]
    public void Tables_in_a_pipe_have_no_blanks_at_the_ends_of_lines()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("guest", "list"), Is.Zero);
        Assert.That(cli.Out.Split('\n').Where(line => line.EndsWith(' ')), Is.Empty);
    }

    private sealed class FullStream : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count) => throw new IOException("No space left on device");
    }
}
