using System.Collections.Immutable;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Kernel.Devices;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices;

/// <summary>The xenbus handshake from the backend's side, with a frontend that keeps to it and frontends that do not.</summary>
internal sealed class DeviceBusTests
{
    [Test]
    public void Both_directories_are_there_as_xl_makes_them_before_the_frontend_looks()
    {
        DeviceBench bench = new();
        bench.WaitFor(XenbusState.InitWait);
        StoreClient domain0 = bench.Store.Client();
        Assert.Multiple(() =>
        {
            Assert.That(bench.Guest.Read("device/vfake/7/backend"), Is.EqualTo(DeviceBench.Back));
            Assert.That(bench.Guest.Read("device/vfake/7/backend-id"), Is.EqualTo("0"));
            Assert.That(bench.Guest.Read("device/vfake/7/state"), Is.EqualTo("1"));
            Assert.That(bench.Guest.Read("device/vfake/7/handle"), Is.EqualTo("7"));
            Assert.That(bench.Guest.List("device"), Is.EqualTo(new[] { "vfake" }));
            Assert.That(bench.Guest.Read($"{DeviceBench.Back}/feature-x"), Is.EqualTo("1"));
            Assert.That(bench.Guest.Read($"{DeviceBench.Back}/frontend"), Is.EqualTo(DeviceBench.Front));
            Assert.That(bench.Guest.Read($"{DeviceBench.Back}/frontend-id"), Is.EqualTo("5"));
            Assert.That(bench.Guest.Read($"{DeviceBench.Back}/online"), Is.EqualTo("1"));
            Assert.That(string.Join(' ', domain0.GetPermissions(DeviceBench.Front)), Is.EqualTo("n5 r0"));
            Assert.That(string.Join(' ', domain0.GetPermissions(DeviceBench.Back)), Is.EqualTo("n0 r5"));
            Assert.That(Assert.Throws<StoreException>(() => bench.Guest.Write($"{DeviceBench.Back}/state", "4"))!.Error, Is.EqualTo(XenErrno.EACCES));
            Assert.That(Assert.Throws<StoreException>(() => bench.Store.Client(6).Read($"{DeviceBench.Back}/state"))!.Error, Is.EqualTo(XenErrno.EACCES));
            Assert.That(Assert.Throws<DeviceException>(() => bench.Bus.Attach(new DomainId(5), 7, new FakeDevice()))!.Message, Does.Contain("already"));
        });
    }

    [TestCase(XenbusState.Initialised, Description = "as blkfront does")]
    [TestCase(XenbusState.Connected, Description = "as netfront does")]
    public void A_frontend_connects_closes_and_comes_back(XenbusState ready)
    {
        DeviceBench bench = new();
        bench.Guest.Write($"{DeviceBench.Front}/ring-ref", "3");
        bench.Say(ready);
        bench.WaitFor(XenbusState.Connected);
        bench.Say(XenbusState.Connected);
        Assert.That(bench.Guest.Read($"{DeviceBench.Back}/sectors"), Is.EqualTo("100"));
        bench.Say(XenbusState.Closing);
        bench.WaitFor(XenbusState.Closing);
        Assert.That(bench.Fake.Calls, Is.EqualTo(new[] { "publish", "connect 3" }), "its rings work while it closes");
        bench.Say(XenbusState.Closed);
        bench.WaitFor(XenbusState.Closed);
        bench.Say(XenbusState.Initialising);
        bench.WaitFor(XenbusState.InitWait);
        bench.Connect();
        Assert.That(bench.Fake.Calls, Is.EqualTo(new[] { "publish", "connect 3", "disconnect", "publish", "connect 8" }));
    }

    [Test]
    public async Task Unplugging_asks_the_frontend_and_leaves_nothing()
    {
        DeviceBench bench = new();
        bench.Connect();
        Task<DeviceEnd> end = bench.Device.DetachAsync(TimeSpan.FromMinutes(5));
        bench.WaitFor(XenbusState.Closing);
        Assert.That(bench.Guest.Read($"{DeviceBench.Back}/online"), Is.EqualTo("0"));
        bench.Say(XenbusState.Closing);
        bench.Say(XenbusState.Closed);
        Assert.That(await end, Is.EqualTo(DeviceEnd.Closed));
        AssertGone(bench, "publish", "connect 8", "disconnect", "dispose");
        // The same device again, and this time its driver is not loaded: nobody need be asked.
        BusDevice again = bench.Bus.Attach(new DomainId(5), 7, new FakeDevice());
        Assert.That(await again.DetachAsync(TimeSpan.FromMinutes(5)), Is.EqualTo(DeviceEnd.Closed));
    }

    [Test]
    public async Task A_frontend_that_does_not_answer_loses_the_device()
    {
        DeviceBench bench = new();
        bench.Connect();
        Assert.That(await bench.Device.DetachAsync(TimeSpan.Zero), Is.EqualTo(DeviceEnd.Forced));
        AssertGone(bench, "publish", "connect 8", "disconnect", "dispose");
        Assert.That(await bench.Device.DetachAsync(TimeSpan.Zero), Is.EqualTo(DeviceEnd.Forced));
    }

    [Test]
    public void A_domain_that_goes_takes_its_devices_along_and_gets_no_more()
    {
        DeviceBench bench = new();
        bench.Connect();
        bench.Bus.Release(new DomainId(5));
        AssertGone(bench, "publish", "connect 8", "disconnect", "dispose");
        Assert.That(Assert.Throws<DeviceException>(() => bench.Bus.Attach(new DomainId(5), 8, new FakeDevice()))!.Message, Does.Contain("gone"));
    }

    [TestCase(null, "missing")]
    [TestCase("ten", "\"ten\"")]
    [TestCase("10", "\"10\"")]
    [TestCase("-1", "\"-1\"")]
    [TestCase("99999999999999999999999999999999999999999", "\"99999999999999999999999999999999…\"")]
    public void Keys_that_will_not_do_are_named_to_the_frontend_which_may_try_again(string? reference, string said)
    {
        DeviceBench bench = new();
        if (reference is not null)
            bench.Guest.Write($"{DeviceBench.Front}/ring-ref", reference);
        bench.Say(XenbusState.Initialised);
        bench.WaitFor(XenbusState.Closing);
        Assert.That(bench.Device.Error, Is.EqualTo($"{DeviceBench.Front}/ring-ref is {said}; it must be a decimal number from 1 to 9."));
        Assert.That(bench.Store.Client().Read("/local/domain/0/error/backend/vfake/5/7/error"), Is.EqualTo(bench.Device.Error));
        bench.Say(XenbusState.Closed);
        bench.WaitFor(XenbusState.Closed);
        bench.Say(XenbusState.Initialising);
        bench.WaitFor(XenbusState.InitWait);
        bench.Connect();
        Assert.That(bench.Device.Error, Is.Null);
        Assert.That(bench.Store.Client().Read("/local/domain/0/error/backend/vfake/5/7/error"), Is.Null);
    }

    [Test]
    public void A_backend_that_fails_closes_its_device_only()
    {
        DeviceBench bench = new();
        bench.Fake.ConnectFailure = new IOException("the file is gone");
        bench.Guest.Write($"{DeviceBench.Front}/ring-ref", "8");
        bench.Say(XenbusState.Connected);
        bench.WaitFor(XenbusState.Closing);
        Assert.That(bench.Device.Error, Is.EqualTo("the file is gone"));
        Assert.That(bench.Fake.Calls, Is.EqualTo(new[] { "publish", "connect 8", "disconnect" }));
    }

    [Test]
    public void A_new_kernel_that_begins_without_a_goodbye_is_served()
    {
        DeviceBench bench = new();
        bench.Connect();
        bench.Say(XenbusState.Initialising);
        bench.WaitFor(XenbusState.InitWait);
        bench.Connect();
        Assert.That(bench.Fake.Calls, Is.EqualTo(new[] { "publish", "connect 8", "disconnect", "publish", "connect 8" }));
    }

    [Test]
    public void A_frontend_that_removes_its_directory_is_disconnected()
    {
        DeviceBench bench = new();
        bench.Connect();
        bench.Guest.Remove(DeviceBench.Front);
        bench.WaitFor(XenbusState.Closed);
        Assert.That(bench.Fake.Calls[^1], Is.EqualTo("disconnect"));
        Assert.That(Assert.Throws<StoreException>(() => bench.Say(XenbusState.Initialising))!.Error, Is.EqualTo(XenErrno.EACCES), "it cannot make devices");
    }

    [Test]
    public void States_in_any_order_never_connect_twice_and_end_clean() =>
        Prop.ForAll(Arb.From(Gen.ArrayOf(Gen.Choose(-1, 10))), states =>
        {
            DeviceBench bench = new();
            bench.Guest.Write($"{DeviceBench.Front}/ring-ref", "8");
            foreach (int state in states)
            {
                if (state < 0)
                    bench.Guest.Remove($"{DeviceBench.Front}/state");
                else
                    bench.Guest.Write($"{DeviceBench.Front}/state", $"{state}");
            }

            bench.Say(XenbusState.Closed);
            bench.WaitFor(XenbusState.Closed);
            bench.Say(XenbusState.Initialising);
            bench.WaitFor(XenbusState.InitWait);
            bench.Connect();
            bench.Bus.Release(new DomainId(5));
            int connected = 0;
            foreach (string call in bench.Fake.Calls)
            {
                connected += call == "connect 8" ? 1 : call == "disconnect" ? -1 : 0;
                Assert.That(connected, Is.InRange(0, 1));
                if (call == "publish")
                    Assert.That(connected, Is.Zero, "keys are written anew only between connections");
            }

            Assert.That(connected, Is.Zero);
            Assert.That(bench.Fake.Calls[^1], Is.EqualTo("dispose"));
        }).QuickCheckThrowOnFailure();

    private static void AssertGone(DeviceBench bench, params string[] calls)
    {
        Assert.That(bench.Fake.Calls, Is.EqualTo(calls));
        StoreClient domain0 = bench.Store.Client();
        Assert.That(bench.Bus.Devices, Is.Empty);
        Assert.That(domain0.Read(DeviceBench.Front), Is.Null);
        Assert.That(domain0.Read(DeviceBench.Back), Is.Null);
        Assert.That(domain0.List("/local/domain/0/backend/vfake"), Is.Empty);
    }
}
