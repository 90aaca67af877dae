using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Native;
using Tessera.Cli.Tests.Support;
using Tessera.Hosting;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;
using Tmds.Linux;

namespace Tessera.Cli.Tests.Native;

/// <summary>What a thread under a list of allowed calls can do and what not; on threads of this process, each with the filter that a run puts on its own.</summary>
internal sealed unsafe class ThreadCallListTests
{
    private const int NotPermitted = 1;
    private const int NoEntry = 2;
    private const int SysSocket = 41;
    private const int SysFork = 57;
    private const int SysExecve = 59;
    private const int SysOpenAt = 257;
    private const int SysClone3 = 435;

    private string _file = "";

    [SetUp]
    public void MakeFile() => File.WriteAllText(_file = Path.GetTempFileName(), "what is there");

    [TearDown]
    public void RemoveFile() => File.Delete(_file);

    [Test]
    public void A_list_has_forty_calls_at_most_each_once([Values] ThreadDuty duty)
    {
        Assert.That(ThreadCallList.Of(duty), Has.Count.LessThanOrEqualTo(40).And.Unique);
    }

    [Test]
    public void Nobody_gets_another_program_or_writes_a_file_of_its_own([Values] ThreadDuty duty)
    {
        (int fork, int execute, int create, int overwrite, int signal) = On(duty, () =>
        (
            Errno(LibC.syscall(SysFork)),
            Execute(),
            Open(_file + ".new", LibC.O_WRONLY | LibC.O_CREAT),
            Open(_file, LibC.O_WRONLY | LibC.O_TRUNC),
            // Signal 0 to process 1.
            Errno(LibC.syscall(234, 1, 1, 0))));
        int refused = duty is ThreadDuty.Client or ThreadDuty.Network ? NotPermitted : NoEntry;
        Assert.Multiple(() =>
        {
            Assert.That((fork, execute, create, overwrite, signal), Is.EqualTo((NotPermitted, NotPermitted, refused, refused, NotPermitted)));
            Assert.That(File.Exists(_file + ".new"), Is.False);
            Assert.That(File.ReadAllText(_file), Is.EqualTo("what is there"));
        });
    }

    [TestCase(ThreadDuty.Processor, NoEntry, NotPermitted)]
    [TestCase(ThreadDuty.Device, NoEntry, NotPermitted)]
    [TestCase(ThreadDuty.Client, 0, 0)]
    [TestCase(ThreadDuty.Network, 0, 0)]
    public void Reading_files_and_making_sockets_is_for_those_who_look_up_names(ThreadDuty duty, int reading, int socket)
    {
        Assert.That(On(duty, () => (Open(_file, LibC.O_RDONLY), Errno(LibC.syscall(SysSocket, (int)LibC.AF_INET, LibC.SOCK_STREAM, 0)))), Is.EqualTo((reading, socket)));
    }

    [Test]
    public void A_library_that_tries_a_newer_call_is_told_to_take_the_older([Values] ThreadDuty duty) =>
        Assert.That(On(duty, () => Errno(LibC.syscall(SysClone3, null, 0))), Is.EqualTo(LibC.ENOSYS));

    /// <summary>The runtime starts threads of its own from whichever needs them, and collects, compiles and throws on any.</summary>
    [Test]
    public void The_runtime_works_on_it([Values] ThreadDuty duty)
    {
        int done = On(duty, () =>
        {
            int sum = 0;
            Thread other = new(() => Interlocked.Add(ref sum, Work(3)));
            other.Start();
            other.Join();
            return sum + Work(4);
        });
        Assert.That(done, Is.EqualTo(7));
    }

    /// <summary>A guest whose code fills what there is for it gets more while it runs.</summary>
    [Test]
    public void The_engine_that_translates_gets_memory_for_more_code_on_it()
    {
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        using LoadedPlugin plugin = new PluginCatalog(PluginFolders.Default(environment: static name => name == PluginFolders.Variable ? Repository.Plugins : null)).Load("software", PluginKind.CpuEngine);
        using ICpuEngine first = plugin.Create<ICpuEngine>(null, services);
        using ICpuEngine second = plugin.Create<ICpuEngine>(null, services);
        void* memory = NativeMemory.AlignedAlloc(4096, 4096);
        try
        {
            GuestMachineLayout layout = new() { Name = "test", Regions = [new(new(first.Facts.ReservedFrames), 1, (nint)memory, IsReadOnly: false)], MaxCpus = 1 };
            first.CreateMachine(layout).Dispose();
            // Another engine shares no code with the first.
            Assert.That(() => On(ThreadDuty.Processor, () =>
            {
                second.CreateMachine(layout).Dispose();
                return true;
            }), Is.True);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    private static int Work(int count)
    {
        List<byte[]> kept = [];
        int caught = 0;
        for (int round = 0; round < count; round++)
        {
            for (int block = 0; block < 200; block++)
                kept.Add(new byte[100_000]);
            GC.Collect();
            try
            {
                throw new SocketException(round);
            }
            catch (SocketException)
            {
                caught++;
            }

            // Compiled anew in each round.
            caught += System.Linq.Expressions.Expression.Lambda<Func<int>>(System.Linq.Expressions.Expression.Constant(0)).Compile()();
        }

        GC.KeepAlive(kept);
        return caught;
    }

    private static int Open(string path, int flags)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
        {
            long result = (ssize_t)LibC.syscall(SysOpenAt, LibC.AT_FDCWD, name, flags | LibC.O_CLOEXEC, 420);
            int errno = result < 0 ? LibC.errno : 0;
            if (result >= 0)
                _ = LibC.close((int)result);
            return errno;
        }
    }

    private static int Execute()
    {
        fixed (byte* name = "/bin/true\0"u8)
            return Errno(LibC.syscall(SysExecve, name, null, null));
    }

    private static int Errno(ssize_t result)
    {
        if ((long)result < 0)
            return LibC.errno;
        if ((long)result > 0)
            _ = LibC.close((int)(long)result);
        return 0;
    }

    /// <summary>Does something on a thread of its own under the list of a duty.</summary>
    private static T On<T>(ThreadDuty duty, Func<T> action)
    {
        // What the runtime would load on the thread is loaded, as before a run.
        Tessera.Hosting.References.LoadHosts();
        T? done = default;
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                const int SysPrctl = 157, NoNewPrivileges = 38;
                Assert.That((long)(ssize_t)LibC.syscall(SysPrctl, NoNewPrivileges, 1, 0, 0, 0), Is.Zero);
                Assert.That(ThreadCallList.Program(duty).Install(onEveryThread: false), Is.Zero);
                done = action();
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? done! : throw failure;
    }
}
