using FsCheck;
using FsCheck.Fluent;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>
/// Random operations in any order, checked after each: nobody runs who is blocked, paused, removed, elsewhere or outside its affinity;
/// no CPU idles while a vCPU waits that may run there, if the policy is work-conserving; the accounts add up; nobody is ejected. FsCheck shrinks what fails.
/// </summary>
public sealed class RandomOperationTests
{
    [Test]
    public void The_invariants_hold([Values("bvt", "credit", "credit2", "eevdf", "null", "round-robin", "rtds", "sedf", "stride")] string policy, [Values(1, 2, 4)] int pcpus) =>
        Hold(pcpus, vcpus: 8, () => Policies.Named(policy), workConserving: policy != "null");

    /// <summary>Where policies look for a CPU in other ways than one by one.</summary>
    [Test]
    public void The_invariants_hold_on_many_cpus([Values("bvt", "credit", "rtds")] string policy) =>
        Hold(pcpus: 14, vcpus: 24, () => Policies.Named(policy), workConserving: true);

    private static void Hold(int pcpus, int vcpus, Func<IScheduler> policy, bool workConserving) =>
        Prop.ForAll<NonEmptyArray<PositiveInt>>(operations =>
        {
            Run run = new(pcpus, vcpus, policy, workConserving);
            foreach (PositiveInt operation in operations.Get)
                run.Do(Scatter(operation.Get));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(400).WithEndSize(150));

    /// <summary>FsCheck's integers are small; an operation needs many independent digits.</summary>
    private static uint Scatter(int value) => (uint)value * 2654435761u;

    private sealed class Run
    {
        private readonly HandMachine _machine;
        private readonly Func<IScheduler> _policy;
        private readonly SchedulableVcpu[] _vcpus;
        private readonly bool[] _awake;
        private readonly int[] _pauses;
        private readonly List<SchedulableVcpu> _everybody = [];
        private readonly int _pcpus;
        private readonly bool _workConserving;

        public Run(int pcpus, int vcpus, Func<IScheduler> policy, bool workConserving)
        {
            _vcpus = new SchedulableVcpu[vcpus];
            _awake = new bool[vcpus];
            _pauses = new int[vcpus];
            _workConserving = workConserving;
            _pcpus = pcpus;
            _policy = policy;
            _machine = new(policy(), pcpus);
            for (int index = 0; index < _vcpus.Length; index++)
                Replace(index);
            Check();
        }

        public void Do(uint operation)
        {
            int index = (int)(operation / 64 % (uint)_vcpus.Length);
            uint argument = operation / 1024;
            SchedulableVcpu vcpu = _vcpus[index];
            switch (operation % 20)
            {
                case 0 or 1 or 2 or 3:
                    _machine.Core.Wake(vcpu, _machine.Now);
                    _awake[index] = true;
                    break;
                case 4 or 5 or 6:
                    Sleep(index, lateWake: argument % 4 == 0);
                    break;
                case 7:
                    _machine.Core.Pause(vcpu, _machine.Now);
                    _pauses[index]++;
                    break;
                case 8 when _pauses[index] > 0:
                    _machine.Core.Resume(vcpu, _machine.Now);
                    _pauses[index]--;
                    break;
                case 9:
                    _machine.Core.Remove(vcpu, _machine.Now);
                    Replace(index);
                    break;
                case 10:
                    _machine.Core.Adjust(vcpu.Domain, 1 + (int)(argument % 1000), null, null, _machine.Now);
                    break;
                case 11:
                    _machine.Core.Adjust(vcpu, Affinity(argument), _machine.Now);
                    break;
                case 12 when vcpu.State == RunState.Running:
                    _machine.Core.Yield(vcpu, _machine.Now);
                    _machine.Decide(vcpu.Pcpu.Index);
                    break;
                case 13 when argument % 4 == 0:
                    _machine.Core.SwapPolicy(_policy(), "swapped", null, _machine.Now);
                    break;
                case 14:
                    _machine.Decide((int)(argument % (uint)_pcpus));
                    break;
                default:
                    _machine.Advance(new Nanoseconds(argument % 20_000_000));
                    break;
            }

            Check();
        }

        private void Sleep(int index, bool lateWake)
        {
            SchedulableVcpu vcpu = _vcpus[index];
            bool running = vcpu.State == RunState.Running;
            _machine.Core.PrepareToSleep(vcpu);
            Require(_machine.Core.Sleep(vcpu, _machine.Now), "slept");
            _awake[index] = false;
            if (lateWake)
            {
                _machine.Core.Wake(vcpu, _machine.Now);
                _awake[index] = true;
            }

            if (running)
                _machine.Decide(vcpu.Pcpu.Index);
        }

        private void Replace(int index)
        {
            _vcpus[index] = new(new SchedulableDomain(new DomainId((ushort)_everybody.Count), 1 + (100 * index)));
            _everybody.Add(_vcpus[index]);
            _machine.Core.Add(_vcpus[index], _machine.Now);
            _awake[index] = false;
            _pauses[index] = 0;
        }

        private CpuSet Affinity(uint argument)
        {
            int[] members = [.. Enumerable.Range(0, _pcpus).Where(pcpu => ((argument >> pcpu) & 1) != 0)];
            return members.Length == 0 ? CpuSet.All : CpuSet.Of(members);
        }

        private void Check()
        {
            _machine.Settle();
            for (int index = 0; index < _vcpus.Length; index++)
            {
                SchedulableVcpu vcpu = _vcpus[index];
                bool wants = _awake[index] && _pauses[index] == 0;
                int places = _machine.Runs.Count(running => running == vcpu);
                Require(places == (vcpu.State == RunState.Running ? 1 : 0), $"{vcpu} runs on {places} CPUs");
                Require(wants == vcpu.State is RunState.Runnable or RunState.Running, $"{vcpu} should {(wants ? "" : "not ")}want to run");
                Require(places == 0 || (vcpu.Affinity.Contains(vcpu.Pcpu) && _machine.Runs[vcpu.Pcpu.Index] == vcpu), $"{vcpu} runs on {vcpu.Pcpu}");
                for (int pcpu = 0; _workConserving && pcpu < _pcpus; pcpu++)
                {
                    bool idles = _machine.Runs[pcpu] is null && vcpu.State == RunState.Runnable && vcpu.Affinity.Contains(new PcpuId(pcpu));
                    Require(!idles, $"p{pcpu} idles while {vcpu} waits: {_machine.Core.Describe(vcpu)}");
                }
            }

            Require(_machine.Runs.All(running => running is null || _vcpus.Contains(running)), "a removed vCPU runs");
            Require(_machine.Core.Ejections.Count == 0, string.Join("; ", _machine.Core.Ejections));
            long busy = Enumerable.Range(0, _pcpus).Sum(pcpu => _machine.Core.AccountOf(new PcpuId(pcpu), _machine.Now).Busy.Value);
            long used = _everybody.Sum(vcpu => _machine.Core.AccountOf(vcpu, _machine.Now).CpuTime.Value);
            Require(busy == used, $"CPUs were busy for {busy} ns, vCPUs ran for {used} ns");
        }

        private static void Require(bool holds, string what)
        {
            if (!holds)
                throw new InvalidOperationException(what);
        }
    }
}
