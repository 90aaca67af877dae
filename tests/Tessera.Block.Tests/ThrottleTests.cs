using Tessera.Net.Tests;
using Tessera.Plugins.Block.Throttle;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Block.Tests;

/// <summary>Rates and shares, in time that the test turns.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class ThrottleTests
{
    private readonly HandTime _time = new();
    private readonly TestScope _scope = new();

    [Test]
    public void A_disk_gets_its_requests_a_second_and_no_more()
    {
        Counter disk = Make(new ThrottleOptions { Iops = 100, Burst = Nanoseconds.FromMilliseconds(100) });
        Flood(disk, 1000, 4096);
        Assert.That(disk.Done, Is.EqualTo(11), "the burst of a tenth of a second, and one on credit");
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.That(disk.Done, Is.EqualTo(511).Within(1));
    }

    [Test]
    public void A_disk_gets_its_bytes_a_second_and_a_large_request_is_paid_off_afterwards()
    {
        Counter disk = Make(new ThrottleOptions { BytesPerSecond = new ByteSize(1 << 20), Burst = Nanoseconds.Zero });
        Flood(disk, 40, 1 << 20);
        Assert.That(disk.Done, Is.EqualTo(1));
        _time.Advance(TimeSpan.FromSeconds(0.5));
        Assert.That(disk.Done, Is.EqualTo(1));
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.That(disk.Done, Is.EqualTo(11).Within(1));
    }

    [Test]
    public void It_grows_where_the_disk_beneath_does_and_nowhere_else()
    {
        Assert.That(Make(new ThrottleOptions()).Throttle.TryGet<IGrowingStorage>(), Is.Null);
        GrowingCounter disk = Make(new ThrottleOptions(), new GrowingCounter());
        disk.Size *= 2;
        Assert.That(disk.Throttle.TryGet<IGrowingStorage>()!.Grow(), Is.EqualTo(disk.Size));
        BlockDriver driver = new(disk.Throttle);
        Assert.That(driver.Run(BlockOperation.Read, disk.Size - 4096, 0, new byte[4096]), Is.EqualTo(BlockStatus.Ok));
    }

    [TestCase(1, 1)]
    [TestCase(1, 3)]
    [TestCase(256, 1024)]
    public void A_group_is_divided_by_weight(int one, int other)
    {
        Counter first = Make(new ThrottleOptions { Group = "g", GroupIops = 1000, Weight = one });
        Counter second = Make(new ThrottleOptions { Group = "g", GroupIops = 1000, Weight = other });
        Flood(first, 20_000, 4096);
        Flood(second, 20_000, 4096);
        int before = first.Done + second.Done;
        int firstBefore = first.Done;
        _time.Advance(TimeSpan.FromSeconds(4));
        double all = first.Done + second.Done - before;
        Assert.That(all, Is.EqualTo(4000).Within(5));
        Assert.That((first.Done - firstBefore) / all, Is.EqualTo((double)one / (one + other)).Within(0.05));
    }

    [Test]
    public void What_one_disk_of_a_group_leaves_the_others_get()
    {
        Counter heavy = Make(new ThrottleOptions { Group = "g", GroupIops = 1000, Weight = 60_000 });
        Counter light = Make(new ThrottleOptions { Group = "g", GroupIops = 1000, Weight = 1 });
        Flood(light, 10_000, 512);
        _time.Advance(TimeSpan.FromSeconds(3));
        Assert.That(light.Done, Is.EqualTo(3100).Within(5));
        // Idleness saves nothing up: the heavy one gets its share from now on, not what it missed.
        Flood(heavy, 10_000, 512);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.That(heavy.Done, Is.EqualTo(1000).Within(5));
    }

    [Test]
    public void Sizes_count_where_bytes_are_bounded()
    {
        Counter large = Make(new ThrottleOptions { Group = "g", GroupBytesPerSecond = new ByteSize(10 << 20) });
        Counter small = Make(new ThrottleOptions { Group = "g", GroupBytesPerSecond = new ByteSize(10 << 20) });
        Flood(large, 1000, 1 << 20);
        Flood(small, 100_000, 4096);
        _time.Advance(TimeSpan.FromSeconds(20));
        Assert.That(small.Done * 4096.0 / (large.Done * 1048576.0), Is.EqualTo(1).Within(0.05));
    }

    [Test]
    public void Disks_of_a_group_must_agree_on_its_bounds()
    {
        _ = Make(new ThrottleOptions { Group = "g", GroupIops = 1000 });
        Assert.That(() => Make(new ThrottleOptions { Group = "g", GroupIops = 999 }), Throws.TypeOf<BackendException>().With.Message.Contains("999"));
        Assert.That(() => Make(new ThrottleOptions { GroupIops = 999 }), Throws.TypeOf<BackendException>().With.Message.Contains("no group is named"));
    }

    [Test]
    public void What_waits_is_carried_out_when_the_disk_goes()
    {
        Counter disk = Make(new ThrottleOptions { Iops = 1, Burst = Nanoseconds.Zero });
        Flood(disk, 50, 512);
        disk.Throttle.Dispose();
        Assert.That(disk.Done, Is.EqualTo(50));
    }

    private static void Flood(Counter disk, int requests, int bytes)
    {
        byte[] memory = new byte[bytes];
        for (int index = 0; index < requests; index++)
        {
            BlockRequest request = new(1, _ => { });
            request.Prepare(BlockOperation.Write);
            request.Append(memory);
            disk.Throttle.Submit(request);
        }
    }

    private Counter Make(ThrottleOptions options) => Make(options, new Counter());

    private T Make<T>(ThrottleOptions options, T counter)
        where T : Counter
    {
        counter.Throttle = new Throttle(options, counter, _scope, _time);
        counter.Throttle.Open(BlockAccess.ReadWrite);
        return counter;
    }

    private class Counter : IBlockBackend
    {
        public long Size { get; set; } = 1 << 30;

        public Throttle Throttle { get; set; } = null!;

        public int Done { get; private set; }

        public BlockGeometry Open(BlockAccess access) => new() { Size = Size };

        public void Submit(BlockRequest request)
        {
            Done++;
            request.Complete(BlockStatus.Ok);
        }

        public void Dispose()
        {
        }
    }

    private sealed class GrowingCounter : Counter, IGrowingStorage
    {
        public long Grow() => Size;
    }
}
