using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Tessera.GuestLibrary;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Linux.Tests;

/// <summary>Stock Linux with its own xen-netfront and DHCP client, and the outside through libslirp.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class NatTests(string engine)
{
    private const int FileBytes = 24 << 20;

    [Test]
    public async Task A_guest_leases_an_address_fetches_from_the_host_and_serves_it()
    {
        if (!NativeLibrary.TryLoad("libslirp.so.0", out _))
            Assert.Ignore("libslirp.so.0 is not installed (Debian's package libslirp0).");
        GuestEntry guest = LinuxGuests.Require("debian");
        byte[] file = RandomNumberGenerator.GetBytes(FileBytes);
        string sum = Convert.ToHexStringLower(SHA256.HashData(file));
        using FileServer server = new(file);
        int forwarded = FreePort();

        using LinuxMachine machine = new(engine);
        Domain domain = machine.Create("inside", guest, 256, arguments: "tessera.ip=dhcp");
        NatOptions options = new() { HostLoopback = true, Hostname = "inside", Forwards = $"tcp {forwarded} 80" };
        Nic nic = machine.Machine.AttachNic(domain, new NicConfiguration { Number = 0, Address = new MacAddress(0x0016_3E00_0001), Backend = new Nat(options, new SharedThings()) });
        machine.Machine.Start(domain);
        machine.WaitForShell(domain);
        LinuxConsole console = machine.ConsoleOf(domain);
        if (console.Run("ls /etc/udhcpc/default.script 2>/dev/null | wc -l") != "1")
            Assert.Ignore("The fetched guest is of an earlier recipe; `./tessera guest get debian` makes it anew.");

        Assert.That(console.Run("ip -4 addr show eth0 | grep -o 'inet [^ ]*'; ip route | grep -o 'default via [^ ]*'; cat /etc/resolv.conf; hostname"),
            Is.EqualTo("inet 10.0.2.15/24\ndefault via 10.0.2.2\nnameserver 10.0.2.3\ninside"));
        Assert.That(console.Run($"wget -q -O /tmp/f http://10.0.2.2:{server.Port}/f; sha256sum </tmp/f"), Does.StartWith(sum));

        _ = console.Run("httpd -p 80 -h /tmp");
        using HttpClient client = new();
        Assert.That(Convert.ToHexStringLower(SHA256.HashData(await client.GetByteArrayAsync(new Uri($"http://127.0.0.1:{forwarded}/f")))), Is.EqualTo(sum));
        NetworkReading counted = nic.Read();
        await TestContext.Out.WriteLineAsync($"{counted}");
        Assert.That((counted.Refused, counted.BrokenRings), Is.EqualTo((0L, 0L)));
        Assert.That(counted.SentFrames, Is.LessThan(FileBytes / 1448), "what the guest sends comes in large frames");
    }

    private static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Answers one HTTP request, whatever it asks for.</summary>
    private sealed class FileServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public FileServer(byte[] file)
        {
            _listener.Start();
            _ = Serve(file);
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public void Dispose() => _listener.Dispose();

        private async Task Serve(byte[] file)
        {
            using TcpClient client = await _listener.AcceptTcpClientAsync();
            NetworkStream stream = client.GetStream();
            using StreamReader reader = new(stream, Encoding.ASCII, false, 1024, leaveOpen: true);
            while (await reader.ReadLineAsync() is { Length: > 0 })
            {
            }

            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {file.Length}\r\nConnection: close\r\n\r\n"));
            await stream.WriteAsync(file);
        }
    }
}
