using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Tessera.Cli.Control;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Control;

/// <summary>The socket itself: who may use it, how it is found, what is spoken on it, and that it goes away.</summary>
internal sealed class ControlSocketTests
{
    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("ts").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public void Only_its_user_may_connect_and_it_is_gone_with_the_run()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Assert.That(File.GetUnixFileMode(machine.Socket), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        machine.End();
        (int code, string _, string error) = machine.Ctl("list");
        Assert.Multiple(() =>
        {
            Assert.That(File.Exists(machine.Socket), Is.False);
            Assert.That(code, Is.EqualTo(ExitCode.Failed));
            Assert.That(error, Does.Contain("There is no socket").And.Contain($"--control {machine.Socket}"));
        });
    }

    [TestCase("s")]
    [TestCase("auto")]
    public void The_one_running_machine_is_found_by_itself(string socket)
    {
        using ControlledMachine machine = ControlledMachine.Simulate(socket);
        using Support.Cli cli = new();
        cli.Environment["XDG_RUNTIME_DIR"] = machine.Environment["XDG_RUNTIME_DIR"];
        Assert.That(cli.Run("ctl", "list"), Is.Zero, cli.Error);
        machine.End();
        using Support.Cli later = new();
        later.Environment["XDG_RUNTIME_DIR"] = machine.Environment["XDG_RUNTIME_DIR"];
        Assert.Multiple(() =>
        {
            Assert.That(later.Run("ctl", "list"), Is.EqualTo(ExitCode.Failed));
            Assert.That(later.Error, Does.Contain("No machine of yours is running").And.Contain("--control auto"));
            Assert.That(Directory.GetFiles(Path.Combine(machine.Environment["XDG_RUNTIME_DIR"], "tessera")), Is.Empty);
        });
    }

    [Test]
    public void A_socket_that_nobody_answers_is_replaced_and_a_live_one_or_a_file_is_not()
    {
        string path = Path.Combine(_folder, "left-over");
        using (Socket dead = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            // Bound under another name and moved, so that closing it leaves it behind, as a killed process does.
            dead.Bind(new UnixDomainSocketEndPoint(path + "-"));
            File.Move(path + "-", path);
        }

        using Support.Cli gone = new();
        Assert.That(gone.Run("ctl", "--socket", path, "list"), Is.EqualTo(ExitCode.Failed));
        Assert.That(gone.Error, Does.Contain("not running any more"));
        using (ControlServer server = ControlServer.Listen(path, line => line))
            Assert.That(Assert.Throws<UsageException>(() => ControlServer.Listen(path, line => line))!.Message, Does.Contain("a running machine listens there"));
        File.WriteAllText(path, "precious");
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--control", path), Is.EqualTo(ExitCode.Usage));
            Assert.That(cli.Error, Does.Contain("no socket"));
            Assert.That(File.ReadAllText(path), Is.EqualTo("precious"));
        });
    }

    [Test]
    public void A_path_that_no_socket_can_have_is_refused_before_anything_starts()
    {
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--control", Path.Combine(_folder, new string('x', 100))), Is.EqualTo(ExitCode.Usage));
            Assert.That(cli.Error, Does.Contain("at most 107"));
            Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--control", "/nonexistent/socket"), Is.EqualTo(ExitCode.Usage));
            Assert.That(cli.Out, Is.Empty);
        });
    }

    [Test]
    public void A_connection_takes_several_requests_and_survives_nonsense()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        using Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        connection.Connect(new UnixDomainSocketEndPoint(machine.Socket));
        using NetworkStream stream = new(connection);
        using StreamReader reader = new(stream);
        string[] codes =
        [
            .. new[]
            {
                "nonsense",
                "null",
                """{"protocol":"tessera.control/9","command":"list"}""",
                """{"protocol":"tessera.control/1","command":"fly"}""",
                """{"protocol":"tessera.control/1","command":"set","arguments":[1]}""",
                """{"protocol":"tessera.control/1","command":"set","arguments":{"edits":[1]}}""",
                """{"protocol":"tessera.control/1","command":"pause"}""",
                """{"protocol":"tessera.control/1","command":"list","unknown":1}""",
            }.Select(line => Ask(stream, reader, line)),
        ];
        Assert.That(codes, Is.EqualTo(new[] { "bad-request", "bad-request", "bad-request", "unknown-command", "bad-request", "bad-request", "bad-request", "ok" }));
        Assert.That(Ask(stream, reader, new string('x', ControlProtocol.LongestLine)), Is.EqualTo("bad-request"));
    }

    [Test]
    public void Nobody_waits_for_ever_for_a_run_that_does_not_come_to_it()
    {
        ControlDesk desk = new(TimeSpan.FromMilliseconds(50));
        Assert.That(Assert.Throws<ControlException>(() => desk.Do(_ => 1))!.Code, Is.EqualTo(ControlCode.Busy));
        desk.Close();
        Assert.That(Assert.Throws<ControlException>(() => desk.Do(_ => 1))!.Code, Is.EqualTo(ControlCode.Ended));
    }

    private static string Ask(NetworkStream stream, StreamReader reader, string line)
    {
        stream.Write(Encoding.UTF8.GetBytes(line + "\n"));
        JsonElement reply = JsonDocument.Parse(reader.ReadLine()!).RootElement;
        return reply.GetProperty("ok").GetBoolean() ? "ok" : reply.GetProperty("code").GetString()!;
    }
}
