using Tessera.Common;

namespace Tessera.Kernel.Machines;

/// <summary>
/// A thread on which others have done what may call into the policy: the control side its calls of the scheduler core (start, pause, adjust, swap, destroy), and virtual time all that its
/// machine does. A policy may hang in it; then this thread stays behind in the plugin, another takes its place, and whoever waits for the errand goes on.
/// </summary>
internal sealed class PolicyErrands : IDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(20);

    private readonly string _name;
    private readonly Lock _gate = new();
    private readonly WorkQueue _errands = new();
    private Thread _thread;

    /// <summary>Starts the thread.</summary>
    /// <param name="name">The thread's name.</param>
    public PolicyErrands(string name)
    {
        _name = name;
        _thread = Begin();
    }

    /// <summary>Does an errand and waits for it; errands are done one after the other.</summary>
    /// <returns>False when it hung in the policy: the fallback is in charge and knows all that the core knew.</returns>
    /// <exception cref="Exception">What the errand threw.</exception>
    public bool Run(Action action)
    {
        WorkEnd end = _errands.Do(action);
        if (end == WorkEnd.Closed)
            action();
        return end != WorkEnd.Abandoned;
    }

    /// <summary>The core has given up a call on this thread: when it is the errands' own, another takes its place.</summary>
    /// <returns>Whether it is.</returns>
    public bool Abandon(int managedThreadId)
    {
        lock (_gate)
        {
            if (_thread.ManagedThreadId != managedThreadId)
                return false;
            if (_errands.TryAbandon())
                _thread = Begin();
            return true;
        }
    }

    /// <summary>Ends the thread when its errands are done or given up; errands after this are done by who asks for them.</summary>
    public void Dispose()
    {
        _errands.Close();
        // One that hangs is given up in a while, and then it is another thread that ends.
        while (!Current.Join(LookEvery))
        {
        }
    }

    private Thread Current
    {
        get
        {
            lock (_gate)
                return _thread;
        }
    }

    private Thread Begin()
    {
        Thread thread = new(Loop) { Name = _name, IsBackground = true };
        thread.Start();
        return thread;
    }

    private void Loop()
    {
        while (Next())
        {
            // An errand's locals end with the call: an errand that swapped a scheduler must not be what keeps its plugin in memory.
        }
    }

    private bool Next() => _errands.Take(waits: true) is { } errand && _errands.Finish(errand);
}
