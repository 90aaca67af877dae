using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Event channels between a frontend and a backend in the VMM.</summary>
internal sealed class BackendChannelTests
{
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;
    private int _notified;

    [SetUp]
    public void CreateADomain()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        _notified = 0;
    }

    [TearDown]
    public void Dispose() => _machine.Dispose();

    private int Allocate(ushort remote)
    {
        Assert.That(_guest.Domain.Events.AllocateUnbound(remote, out int port), Is.EqualTo(XenErrno.Success));
        return port;
    }

    private XenErrno TryBind(int port, out BackendChannel? channel) =>
        BackendChannel.TryBind(_guest.Domain.Events, new EventPort(port), () => _notified++, out channel);

    [Test]
    public void Events_go_both_ways()
    {
        int port = Allocate(0);
        Assert.That(TryBind(port, out BackendChannel? channel), Is.EqualTo(XenErrno.Success));
        Assert.That(_notified, Is.EqualTo(1), "what was sent before is not lost");
        Assert.That(_guest.Domain.Events.Send(port), Is.EqualTo(XenErrno.Success));
        Assert.That(_notified, Is.EqualTo(2));
        Assert.That(_guest.Domain.Shared.IsPending(port), Is.False);
        channel!.Notify();
        Assert.That(_guest.Domain.Shared.IsPending(port), Is.True);
        Assert.That(_guest.Domain.Events.TryStatus(port, out EventChannelState state, out _, out _), Is.True);
        Assert.That(state, Is.EqualTo(EventChannelState.Interdomain));
    }

    [Test]
    public void Only_a_port_left_for_the_backends_domain_is_bound_and_only_once()
    {
        Assert.That(TryBind(Allocate(5), out _), Is.EqualTo(XenErrno.EINVAL), "for another domain");
        Assert.That(TryBind(4000, out _), Is.EqualTo(XenErrno.EINVAL), "not allocated");
        Assert.That(TryBind(0, out _), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(TryBind(-1, out _), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(TryBind(1, out _), Is.EqualTo(XenErrno.EINVAL), "the store's");
        int port = Allocate(0);
        Assert.That(TryBind(port, out _), Is.EqualTo(XenErrno.Success));
        Assert.That(TryBind(port, out BackendChannel? second), Is.EqualTo(XenErrno.EINVAL), "bound already");
        Assert.That((second, _notified), Is.EqualTo(((BackendChannel?)null, 1)));
    }

    [Test]
    public void A_port_that_the_guest_closes_is_no_longer_the_backends()
    {
        int port = Allocate(0);
        _ = TryBind(port, out BackendChannel? channel);
        Assert.That(_guest.Domain.Events.Close(port), Is.EqualTo(XenErrno.Success));
        Assert.That(channel!.IsOpen, Is.False);
        Assert.That(Allocate(3), Is.EqualTo(port), "its number is used again");
        channel.Notify();
        Assert.That(_guest.Domain.Shared.IsPending(port), Is.False);
        channel.Dispose();
        Assert.That(_guest.Domain.Events.TryStatus(port, out EventChannelState state, out _, out ulong remote), Is.True);
        Assert.That((state, remote), Is.EqualTo((EventChannelState.Unbound, 3u)), "the old backend does not touch it");
    }

    [Test]
    public void A_backend_that_leaves_lets_the_port_be_bound_again()
    {
        int port = Allocate(0);
        _ = TryBind(port, out BackendChannel? channel);
        channel!.Dispose();
        Assert.That(_guest.Domain.Events.Send(port), Is.EqualTo(XenErrno.Success));
        Assert.That(_notified, Is.EqualTo(1));
        Assert.That(TryBind(port, out _), Is.EqualTo(XenErrno.Success));
    }

    [Test]
    public void A_dead_domain_hears_nothing()
    {
        int port = Allocate(0);
        _ = TryBind(port, out BackendChannel? channel);
        _machine.Machine.Destroy(_guest.Domain);
        Assert.That(channel!.IsOpen, Is.False);
        channel.Notify();
        channel.Dispose();
        Assert.That(TryBind(port, out _), Is.EqualTo(XenErrno.ESRCH));
    }
}
