using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Scheduling.Tests;

/// <summary>Real threads through the public API: no wake is lost, nobody runs twice, a swap in the middle changes nothing.</summary>
public sealed class StressTests
{
    [Test]
    public void No_wake_is_lost_between_threads([Values("bvt", "round-robin")] string policy)
    {
        using Threads threads = new(policy == "bvt" ? Policies.Bvt() : Policies.RoundRobin(), pcpus: 3, vcpus: 8);
        Assert.That(threads.Run(wakers: 2, eventsEach: 10_000), Is.EqualTo("done"));
        Assert.That(threads.Core.Ejections, Is.Empty);
    }

    private sealed class Threads : ISchedulerHost, IDisposable
    {
        private readonly SemaphoreSlim[] _kicks;
        private readonly Guest[] _guests;
        private readonly CountdownEvent _consumed = new(1);
        private volatile bool _stop;
        private volatile string? _failure;

        public Threads(IScheduler policy, int pcpus, int vcpus)
        {
            _kicks = [.. Enumerable.Range(0, pcpus).Select(static _ => new SemaphoreSlim(0))];

            // Without the starvation watchdog, which would look at idle CPUs again and hide a lost kick.
            Core = new(policy, "under-test", Policies.RoundRobin, new() { PcpuCount = pcpus, StarvationLimit = default, HostClock = TimeProvider.System }, this);
            _guests = [.. Enumerable.Range(0, vcpus).Select(index => new Guest(new(new SchedulableDomain(new DomainId((ushort)index), 100 + index))))];
            foreach (Guest guest in _guests)
                Core.Add(guest.Vcpu, Nanoseconds.Zero);
        }

        public SchedulerCore Core { get; }

        public void Kick(PcpuId pcpu) => _kicks[pcpu.Index].Release();

        public string Run(int wakers, int eventsEach)
        {
            _consumed.AddCount(wakers * eventsEach);
            Thread[] cpus = [.. Enumerable.Range(0, _kicks.Length).Select(index => new Thread(() => Cpu(index)))];
            Thread[] senders = [.. Enumerable.Range(0, wakers).Select(index => new Thread(() => Send(index, eventsEach)))];
            foreach (Thread thread in cpus.Concat(senders))
                thread.Start();
            bool sent = senders.All(static thread => thread.Join(Hang.Limit));
            _consumed.Signal();
            bool consumed = sent && _consumed.Wait(Hang.Limit);
            _stop = true;
            foreach (SemaphoreSlim kick in _kicks)
                kick.Release();
            bool ended = cpus.All(static thread => thread.Join(Hang.Limit));
            if (_failure is { } failure)
                return failure;
            if (consumed && ended)
                return "done";
            return $"{_consumed.CurrentCount} events were never seen: " + string.Join("; ", _guests.Select(guest => $"{guest.Vcpu} has {guest.Pending}, {Core.Describe(guest.Vcpu)}"));
        }

        public void Dispose()
        {
            _consumed.Dispose();
            foreach (SemaphoreSlim kick in _kicks)
                kick.Dispose();
        }

        private static Nanoseconds Clock() => new(TimeProvider.System.GetTimestamp());

        /// <summary>A physical CPU: runs the guest it is given until that blocks, and waits for a kick when there is none.</summary>
        private void Cpu(int index)
        {
            while (!_stop && _failure is null)
            {
                Dispatch dispatch = Core.Schedule(new PcpuId(index), Clock());
                if (dispatch.Vcpu is not { } vcpu)
                {
                    _kicks[index].Wait();
                    continue;
                }

                Guest guest = _guests[vcpu.Id.Domain.Value];
                if (Interlocked.Exchange(ref guest.Running, 1) != 0)
                    _failure = $"{vcpu} runs on two CPUs";
                Consume(guest);
                Volatile.Write(ref guest.Running, 0);
            }
        }

        /// <summary>What a guest does: handles its events, then blocks unless another came.</summary>
        private void Consume(Guest guest)
        {
            while (true)
            {
                for (int events = Interlocked.Exchange(ref guest.Pending, 0); events > 0; events--)
                    _consumed.Signal();
                Core.PrepareToSleep(guest.Vcpu);
                if (Volatile.Read(ref guest.Pending) != 0)
                    continue;

                // Between the look and the sleep a wake must not get lost: widen the gap.
                if ((++guest.Looks & 3) == 0)
                    Thread.Yield();
                if (Core.Sleep(guest.Vcpu, Clock()))
                    return;
            }
        }

        private void Send(int seed, int count)
        {
            Random random = new(seed);
            for (int sent = 0; sent < count; sent++)
            {
                Guest guest = _guests[random.Next(_guests.Length)];
                Interlocked.Increment(ref guest.Pending);
                Core.Wake(guest.Vcpu, Clock());

                // One event at a time: the next one would make up for a lost wake.
                if (!SpinWait.SpinUntil(() => Volatile.Read(ref guest.Pending) == 0 || _failure is not null, Hang.Limit))
                    return;
                if (seed == 0 && sent % 5_000 == 2_500)
                    Core.SwapPolicy(Policies.Bvt(), "swapped", null, Clock());
            }
        }

        private sealed class Guest(SchedulableVcpu vcpu)
        {
            public readonly SchedulableVcpu Vcpu = vcpu;
            public int Pending;
            public int Running;
            public int Looks;
        }
    }
}
