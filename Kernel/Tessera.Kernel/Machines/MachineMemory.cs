using System.Diagnostics;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Machines;

/// <summary>
/// The machine's memory: asks the memory policy, one call at a time, and keeps the accounts by what it answers. A policy that fails is
/// asked no
/// more; from then on what can be given is given.
/// </summary>
/// <remarks>
/// Any thread that holds no domain's gate. Only here the accounts grow, so what there is when a policy is asked is there afterwards.
/// </remarks>
internal sealed class MachineMemory : IDisposable
{
    private static readonly TimeSpan LeastPeriod = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan MostPeriod = TimeSpan.FromDays(30); // timers take no more than seven weeks
    private static readonly TimeSpan LastCall = TimeSpan.FromSeconds(2);

    private readonly Lock _gate = new();
    private readonly Machine _machine;
    private readonly string _name;
    private readonly ITimer? _timer;
    private readonly TimeSpan _period;
    private IMemoryPolicy? _policy;

    /// <summary>Puts a policy in charge of a machine without domains.</summary>
    /// <param name="machine">The machine; its clock and store are there.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="limitFrames">How many frames the machine has to give.</param>
    public MachineMemory(Machine machine, IMemoryPolicy policy, long limitFrames)
    {
        (_machine, _policy, _name) = (machine, policy, policy.GetType().FullName!);
        Budget = new FrameBudget(limitFrames);
        Nanoseconds period = Nanoseconds.Never;
        try
        {
            period = policy.RebalancePeriod;
        }
        catch (Exception exception)
        {
            Fail(nameof(IMemoryPolicy.RebalancePeriod), exception);
        }

        if (period == Nanoseconds.Never)
            return;
        _period = TimeSpan.FromTicks(Math.Clamp(period.Value / 100, LeastPeriod.Ticks, MostPeriod.Ticks));
        _timer = machine.Time.CreateTimer(_ => Rebalance(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _ = _timer.Change(_period, Timeout.InfiniteTimeSpan);
    }

    /// <summary>What the domains hold.</summary>
    public FrameBudget Budget { get; }

    /// <summary>What the policy did that it is no longer asked; null while all is well.</summary>
    public string? Failure { get; private set; }

    /// <summary>Lets a new domain have its first memory, with what the VMM needs for it.</summary>
    /// <param name="request">What it asks for.</param>
    /// <param name="beside">The frames that are needed beside its memory.</param>
    /// <returns>How many frames it starts with; 0 when it is refused.</returns>
    public long Admit(in MemoryRequest request, long beside)
    {
        lock (_gate)
        {
            MemoryBudget budget = new(Budget.LimitFrames, Budget.AssignedFrames + beside);
            long most = Math.Clamp(budget.FreeFrames, 0, request.MaxFrames);
            long given = request.Frames <= most ? request.Frames : 0;
            if (_policy is { } policy)
            {
                try
                {
                    TellReleased(policy);
                    given = Checked(policy.Admit(request, budget), most);
                }
                catch (Exception exception)
                {
                    Fail(nameof(IMemoryPolicy.Admit), exception);
                }
            }

            return given > 0 && Budget.TryAssign(request.Domain, given, beside) ? given : 0;
        }
    }

    /// <summary>Lets a domain have more memory.</summary>
    /// <returns>How many frames it gets, 0 to what it asked for; they are its own now.</returns>
    public long Grant(Domain domain, long asked)
    {
        Debug.Assert(!domain.Gate.IsHeldByCurrentThread);
        lock (_gate)
        {
            MemoryBudget budget = Now;
            DomainMemoryFacts facts = FactsOf(domain);
            long most = Math.Max(0, Math.Min(asked, Math.Min(facts.MaxFrames - facts.AssignedFrames, budget.FreeFrames)));
            long given = most;
            if (_policy is { } policy)
            {
                try
                {
                    TellReleased(policy);
                    given = Checked(policy.Grant(facts, asked, budget), most);
                }
                catch (Exception exception)
                {
                    Fail(nameof(IMemoryPolicy.Grant), exception);
                }
            }

            return Budget.TryGrow(domain.Id, given) ? given : 0;
        }
    }

    /// <summary>Ends it, when the policy has come back from a call that is under way.</summary>
    public void Dispose()
    {
        _ = _timer?.DisposeAsync().AsTask().Wait(LastCall);
        if (!_gate.TryEnter(LastCall))
            return;
        _policy = null;
        _gate.Exit();
    }

    private MemoryBudget Now => new(Budget.LimitFrames, Budget.AssignedFrames);

    // On a timer's thread, or by the one that drives virtual time; the next is planned when this one is done.
    private void Rebalance()
    {
        lock (_gate)
        {
            if (_policy is not { } policy)
                return;
            Dictionary<DomainId, Domain> domains = Living().ToDictionary(static domain => domain.Id);
            try
            {
                TellReleased(policy);
                DomainMemoryFacts[] facts = [.. domains.Values.Select(FactsOf)];
                IReadOnlyList<MemoryTarget> targets = policy.Rebalance(_machine.Clock.Now, facts, Now);
                foreach ((DomainId id, long frames) in targets)
                {
                    if (!domains.TryGetValue(id, out Domain? domain))
                        throw new InvalidOperationException($"It names {id}, which it was not asked about.");
                    if (frames < 1 || frames > domain.Memory.RamFrames)
                        throw new InvalidOperationException($"{id} cannot have {frames} frames, only 1 to {domain.Memory.RamFrames}.");
                }

                foreach ((DomainId id, long frames) in targets)
                    domains[id].SetTarget(_machine.StoreClient, frames);
            }
            catch (Exception exception)
            {
                Fail(nameof(IMemoryPolicy.Rebalance), exception);
                return;
            }
        }

        _ = _timer!.Change(_period, Timeout.InfiniteTimeSpan);
    }

    private static long Checked(long given, long most) =>
        given >= 0 && given <= most ? given
        : throw new InvalidOperationException($"It gives {given} frames where 0 to {most} can be given.");

    private void TellReleased(IMemoryPolicy policy)
    {
        foreach ((DomainId domain, long frames) in Budget.TakeReleased())
            policy.Released(domain, frames);
    }

    private DomainMemoryFacts FactsOf(Domain domain) =>
        new(domain.Id, domain.Configuration.MemoryBytes / 4096, domain.Memory.RamFrames, Budget.MemoryOf(domain.Id), domain.TargetFrames);

    private IEnumerable<Domain> Living() =>
        _machine.Domains.Where(static domain => domain.State is DomainState.Created or DomainState.Running or DomainState.Paused);

    /// <summary>The policy is in charge no longer: every domain may have what it was configured with again.</summary>
    private void Fail(string call, Exception exception)
    {
        _policy = null;
        Failure = $"The memory policy {_name} failed in {call}: {exception.GetType().Name}: {exception.Message} "
            + "Domains get their memory as under static-partition from then on.";
        foreach (Domain domain in Living())
            domain.SetTarget(_machine.StoreClient, domain.Configuration.MemoryBytes / 4096);
    }
}
