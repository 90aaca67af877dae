using System.Collections.Concurrent;
using Tessera.Kernel.Devices;

namespace Tessera.Kernel.Tests;

/// <summary>The thread that serves devices in turn.</summary>
internal sealed class DeviceWorkerTests
{
    [Test]
    public void A_flood_costs_another_device_one_budget_of_waiting()
    {
        using DeviceWorker worker = new("worker", budget: 8);
        ConcurrentQueue<string> turns = new();
        using ManualResetEventSlim go = new(), done = new();
        Device gate = new("gate", turns) { Work = _ => { go.Wait(); return false; } };
        int flood = 0;
        Device flooding = new("flood", turns) { Work = budget => (flood += budget) < 800 };
        int left = 3;
        Device quiet = new("quiet", turns) { Work = _ => { if (--left > 0) return true; done.Set(); return false; } };
        worker.Schedule(gate);
        worker.Schedule(flooding);
        worker.Schedule(quiet);
        go.Set();
        Assert.That(done.Wait(Hang.Limit), Is.True);
        Assert.That(turns.Take(7), Is.EqualTo(new[] { "gate", "flood", "quiet", "flood", "quiet", "flood", "quiet" }));
    }

    [Test]
    public void Scheduled_many_times_before_its_turn_it_runs_once_and_scheduled_while_it_runs_it_runs_again()
    {
        using DeviceWorker worker = new("worker");
        ConcurrentQueue<string> turns = new();
        using ManualResetEventSlim inside = new(), go = new(), again = new();
        int runs = 0;
        Device device = new("device", turns);
        device.Work = _ =>
        {
            if (++runs == 1)
            {
                inside.Set();
                go.Wait();
            }
            else
            {
                again.Set();
            }

            return false;
        };
        worker.Schedule(device);
        inside.Wait();
        for (int i = 0; i < 100; i++)
            worker.Schedule(device);
        go.Set();
        Assert.That(again.Wait(Hang.Limit), Is.True);
        worker.Remove(device);
        Assert.That(runs, Is.EqualTo(2));
    }

    [Test]
    public void A_removed_task_does_not_run_any_more()
    {
        using DeviceWorker worker = new("worker");
        ConcurrentQueue<string> turns = new();
        using ManualResetEventSlim inside = new(), go = new();
        Device busy = new("busy", turns) { Work = _ => { inside.Set(); go.Wait(); return true; } };
        Device waiting = new("waiting", turns) { Work = _ => false };
        worker.Schedule(busy);
        inside.Wait();
        worker.Schedule(waiting);
        worker.Remove(waiting);
        Thread remover = new(() => worker.Remove(busy));
        remover.Start();
        go.Set();
        remover.Join();
        int count = turns.Count;
        worker.Dispose();
        Assert.That((turns.Contains("waiting"), turns.Count), Is.EqualTo((false, count)));
    }

    [Test]
    public void A_task_that_throws_hears_of_it_and_the_others_go_on()
    {
        using DeviceWorker worker = new("worker");
        ConcurrentQueue<string> turns = new();
        using ManualResetEventSlim done = new();
        Device broken = new("broken", turns) { Work = _ => throw new InvalidDataException("forged") };
        Device sound = new("sound", turns) { Work = _ => { done.Set(); return false; } };
        worker.Schedule(broken);
        worker.Schedule(sound);
        Assert.That(done.Wait(Hang.Limit), Is.True);
        Assert.That(broken.Failure, Is.InstanceOf<InvalidDataException>());
    }

    [Test]
    public void A_turn_that_does_not_end_is_left_behind_and_the_others_go_on()
    {
        using DeviceWorker worker = new("worker");
        ConcurrentQueue<string> turns = new();
        using ManualResetEventSlim inside = new(), go = new(), back = new(), done = new(), again = new();
        Device hanging = new("hanging", turns) { Work = _ => { inside.Set(); go.Wait(); back.Set(); return true; } };
        int runs = 0;
        Device sound = new("sound", turns) { Work = _ => { (++runs == 1 ? done : again).Set(); return false; } };
        worker.Schedule(hanging);
        inside.Wait();
        worker.Schedule(sound);
        worker.Look();
        Assert.That(hanging.IsHung, Is.False, "it may be a slow one");
        worker.Look();
        Assert.That(done.Wait(TimeSpan.FromMinutes(2)), Is.True);
        Assert.That((hanging.IsHung, worker.Remove(hanging), worker.Remove(sound)), Is.EqualTo((true, false, true)));
        // Back after all, it has nothing to do with the others any more.
        go.Set();
        back.Wait();
        worker.Schedule(hanging);
        worker.Schedule(sound);
        Assert.That(again.Wait(TimeSpan.FromMinutes(2)), Is.True);
        Assert.That(turns.Count(name => name == "hanging"), Is.EqualTo(1));
    }

    private sealed class Device(string name, ConcurrentQueue<string> turns) : DeviceTask
    {
        public Func<int, bool> Work { get; set; } = _ => false;

        public Exception? Failure { get; private set; }

        public override bool Run(int budget)
        {
            turns.Enqueue(name);
            return Work(budget);
        }

        public bool IsHung { get; private set; }

        public override void Failed(Exception exception) => Failure = exception;

        public override void Hung() => IsHung = true;
    }
}
