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
            Assert.That(cli.Error, Does.Contain("not a socket"));
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
    public void What_cannot_be_undone_needs_a_name_or_a_yes_where_the_machine_was_only_found()
    {
        using ControlledMachine machine = ControlledMachine.Simulate("auto");
        (int code, string _, string error) = machine.Ctl("destroy", "*");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Usage));
            Assert.That(error, Does.Contain("quickstart.json").And.Contain("--yes").And.Contain("--socket"));
            Assert.That(machine.Domain("one").GetProperty("state").GetString(), Is.Not.EqualTo("destroyed"));
        });
        (code, _, error) = machine.Ctl("pause", "one");
        Assert.That(code, Is.Zero, error);
        Assert.That(error, Does.Contain("quickstart.json"), "a change says whose machine it is");
        Assert.That(machine.Do("about"), Does.Contain("quickstart.json, process"));
    }

    [Test]
    public void Connections_that_say_nothing_keep_nobody_out()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        List<Socket> silent = [];
        for (int index = 0; index < 20; index++)
        {
            Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            connection.Connect(new UnixDomainSocketEndPoint(machine.Socket));
            silent.Add(connection);
        }

        for (int index = 0; index < 20; index++)
            Assert.That(machine.Ctl("list").Code, Is.Zero);
        silent.ForEach(connection => connection.Dispose());
    }

    [Test]
    public void A_machine_that_takes_no_more_is_heard_to_say_so()
    {
        string path = Path.Combine(_folder, "full");
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        Thread server = new(() =>
        {
            // Answers without having read, and hangs up.
            using Socket connection = listener.Accept();
            connection.Send(Encoding.UTF8.GetBytes(ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.Busy, "16 connections are open already."))) + "\n"));
        });
        server.Start();
        using Support.Cli cli = new();
        Assert.That(cli.Run("ctl", "--socket", path, "list"), Is.EqualTo(ExitCode.Failed));
        server.Join();
        Assert.That(cli.Error, Does.Contain("16 connections"));
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void A_console_is_both_ways_and_ends_with_its_domain(string engine)
    {
        using ControlledMachine machine = ControlledMachine.Run(engine);
        using Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        connection.Connect(new UnixDomainSocketEndPoint(machine.Socket));
        using NetworkStream stream = new(connection);
        using StreamReader reader = new(stream);
        stream.Write(Encoding.UTF8.GetBytes(ControlProtocol.Write(Tessera.Cli.Control.Commands.ConsoleCommand.RequestFor("one")) + "\ntyped"));
        Assert.That(JsonDocument.Parse(reader.ReadLine()!).RootElement.GetProperty("ok").GetBoolean(), Is.True);
        machine.Do("destroy", "one");
        Assert.That(reader.ReadToEnd(), Is.Empty, "a guest without a console says nothing; then the connection ends");
        Assert.That(machine.Ctl("console", "one").Error, Does.Contain("destroyed"));
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
