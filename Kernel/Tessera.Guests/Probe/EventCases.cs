using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>event_channel_op, with the status of each port after it.</summary>
internal static class EventCases
{
    private const int Ops = 18;

    public static void Emit(ProbeCode p)
    {
        p.Group("event_channel_op");
        for (int op = 0; op < Ops; op++)
        {
            if (op != (int)EventChannelOp.Reset)
            {
                p.Clear(p.Page);
                p.Call($"{op} zero", Hypercall.EventChannelOp, [op, p.Page], p.Page + 4, p.Page + 8);
                p.Make(Hypercall.EventChannelOp, 3, p.Page + 8);
            }

            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                p.Call($"{op} {name}", Hypercall.EventChannelOp, [op, address]);
        }

        p.Clear(p.Page);
        p.Call("compat", Hypercall.EventChannelOpCompat, [p.Page]);
        foreach ((string name, ulong address) in ProbeCode.BadPointers)
            p.Call($"compat {name}", Hypercall.EventChannelOpCompat, [address]);
        Tidy(p);
        Unbound(p);
        Interdomain(p);
        Virqs(p);
        Ports(p);
        Fifo(p);
        Resets(p);
    }

    // The first loop may have left ports bound: those from 3 up are closed.
    private static void Tidy(ProbeCode p)
    {
        for (int port = 3; port < 16; port++)
        {
            p.Put32(p.Page, port);
            p.Make(Hypercall.EventChannelOp, (int)EventChannelOp.Close, p.Page);
        }
    }

    private static void Status(ProbeCode p, string name, long port, int domain = DomainIds.Self)
    {
        p.Clear(p.Page);
        p.Put32(p.Page, domain, port);
        p.Call(name, Hypercall.EventChannelOp, [(int)EventChannelOp.Status, p.Page], p.Page + 8, p.Page + 12, p.Page + 20);
    }

    private static void Op(ProbeCode p, string name, EventChannelOp op, long first, long second = 0, long third = 0)
    {
        p.Put32(p.Page, first, second, third, 0);
        p.Call(name, Hypercall.EventChannelOp, [(int)op, p.Page]);
    }

    private static void Bind(ProbeCode p, string name, EventChannelOp op, int shown, long first, long second = 0)
    {
        p.Put32(p.Page, first, second, 0, 0);
        p.Call(name, Hypercall.EventChannelOp, [(int)op, p.Page], p.Page + (ulong)shown);
    }

    private static void Unbound(ProbeCode p)
    {
        const EventChannelOp Alloc = EventChannelOp.AllocUnbound;
        Bind(p, "unbound self for self", Alloc, 4, DomainIds.Self | (DomainIds.Self << 16));
        Bind(p, "unbound self for dom0", Alloc, 4, DomainIds.Self);
        Bind(p, "unbound self for nobody", Alloc, 4, DomainIds.Self | (ProbeCode.NoDomain << 16));
        foreach ((string name, int number) in ProbeCode.OtherDomains)
            Bind(p, $"unbound {name}", Alloc, 4, number);
        for (int port = 0; port < 8; port++)
            Status(p, $"status {port}", port);
        foreach (long port in (long[])[4095, 4096, 131071, 131072, -1])
            Status(p, $"status {port}", port);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
            Status(p, $"status of {name}", 1, number);
    }

    private static void Interdomain(ProbeCode p)
    {
        const EventChannelOp Inter = EventChannelOp.BindInterdomain;
        Bind(p, "interdomain self 3", Inter, 8, DomainIds.Self, 3);
        Bind(p, "interdomain self 3 again", Inter, 8, DomainIds.Self, 3);
        Bind(p, "interdomain self 4", Inter, 8, DomainIds.Self, 4);
        Bind(p, "interdomain self 0", Inter, 8, DomainIds.Self, 0);
        Bind(p, "interdomain self free", Inter, 8, DomainIds.Self, 1000);
        Bind(p, "interdomain self beyond", Inter, 8, DomainIds.Self, 200000);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
        {
            Bind(p, $"interdomain {name} 0", Inter, 8, number, 0);
            Bind(p, $"interdomain {name} 9999", Inter, 8, number, 9999);
        }

        Status(p, "status interdomain 3", 3);
        Status(p, "status interdomain 6", 6);
        Op(p, "send 3", EventChannelOp.Send, 3);
        Op(p, "send 6", EventChannelOp.Send, 6);
        p.Facts("pending after", p.G.Shared + SharedInfo.EventPending);
        Op(p, "close 6", EventChannelOp.Close, 6);
        Status(p, "status 3 after", 3);
        Op(p, "send 3 unbound", EventChannelOp.Send, 3);
        p.Facts("pending after close", p.G.Shared + SharedInfo.EventPending);
    }

    private static void Virqs(ProbeCode p)
    {
        for (int virq = 0; virq < 26; virq++)
            Bind(p, $"virq {virq}", EventChannelOp.BindVirq, 8, virq, 0);
        Bind(p, "virq 0 again", EventChannelOp.BindVirq, 8, 0, 0);
        foreach (long vcpu in (long[])[1, 99, -1])
        {
            Bind(p, $"virq 0 vcpu {vcpu}", EventChannelOp.BindVirq, 8, 0, vcpu);
            Bind(p, $"virq 3 vcpu {vcpu}", EventChannelOp.BindVirq, 8, 3, vcpu);
            Bind(p, $"ipi vcpu {vcpu}", EventChannelOp.BindIpi, 4, vcpu);
        }

        Bind(p, "virq -1", EventChannelOp.BindVirq, 8, -1, 0);
        Bind(p, "ipi", EventChannelOp.BindIpi, 4, 0);
        for (int port = 6; port < 26; port++)
            Status(p, $"bound status {port}", port);
        foreach (long pirq in (long[])[0, 1, 5, 9999, -1])
            Op(p, $"pirq {pirq}", EventChannelOp.BindPirq, pirq, 0);
    }

    private static void Ports(ProbeCode p)
    {
        foreach (long port in (long[])[0, 1, 2, 3, 6, 7, 1000, 4096, 131071, 131072, -1])
        {
            Op(p, $"send {port}", EventChannelOp.Send, port);
            Op(p, $"unmask {port}", EventChannelOp.Unmask, port);
            Op(p, $"bind_vcpu {port} 0", EventChannelOp.BindVcpu, port, 0);
            Op(p, $"bind_vcpu {port} 9", EventChannelOp.BindVcpu, port, 9);
            Op(p, $"priority {port}", EventChannelOp.SetPriority, port, 5);
            Op(p, $"priority {port} 99", EventChannelOp.SetPriority, port, 99);
        }

        p.Facts("pending", p.G.Shared + SharedInfo.EventPending);
        foreach (long port in (long[])[0, 3, 3, 6, 7, 1000, 4096, 131072, -1])
            Op(p, $"close {port}", EventChannelOp.Close, port);
        Status(p, "status 7 after close", 7);
    }

    // No call here succeeds: a guest that once has the FIFO's pages cannot go back.
    private static void Fifo(ProbeCode p)
    {
        void Control(string name, Argument frame, int offset, int vcpu)
        {
            p.Put64(p.Page, frame);
            p.Put32(p.Page + 8, offset, vcpu, 0, 0);
            p.Call($"init_control {name}", Hypercall.EventChannelOp, [(int)EventChannelOp.InitControl, p.Page], p.Page + 16);
        }

        Argument good = Argument.Frame(p.Spare);
        Control("no frame", ProbeCode.NoFrame, 0, 0);
        Control("unaligned", good, 4, 0);
        Control("offset 4096", good, 4096, 0);
        Control("offset 4040", good, 4040, 0);
        Control("vcpu 1", good, 0, 1);
        Control("vcpu 99", good, 0, 99);
        p.Put64(p.Page, Argument.Frame(p.Spare + 4096));
        p.Call("expand_array early", Hypercall.EventChannelOp, [(int)EventChannelOp.ExpandArray, p.Page]);
    }

    private static void Resets(ProbeCode p)
    {
        foreach ((string name, int number) in ProbeCode.OtherDomains)
            Op(p, $"reset {name}", EventChannelOp.Reset, number);
        Status(p, "status 1 still", 1);
        Status(p, "status 2 still", 2);
    }
}
