using System.Runtime.ExceptionServices;

namespace Tessera.Kernel.Machines;

/// <summary>
/// A thread on which others have done what may call into the policy: the control side its calls of the scheduler core (start, pause, adjust, swap, destroy), and virtual time all that its
/// machine does. A policy may hang in it; then this thread stays behind in the plugin, another takes its place, and whoever waits for the errand goes on.
/// </summary>
internal sealed class PolicyErrands : IDisposable
{
    private readonly string _name;
    private readonly object _gate = new();
    private readonly Queue<Errand> _waiting = new();
    private Thread _thread;
    private Errand? _current;
    private bool _isOver;

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
        Errand errand = new(action);
        lock (_gate)
        {
            if (!_isOver)
            {
                _waiting.Enqueue(errand);
                Monitor.PulseAll(_gate);
                while (!errand.IsDone)
                    Monitor.Wait(_gate);
            }
        }

        if (!errand.IsDone)
            errand.Do();
        errand.Failure?.Throw();
        return !errand.IsAbandoned;
    }

    /// <summary>The core has given up a call on this thread: when it is the errands' own, another takes its place.</summary>
    /// <returns>Whether it is.</returns>
    public bool Abandon(int managedThreadId)
    {
        lock (_gate)
        {
            if (_thread.ManagedThreadId != managedThreadId)
                return false;
            if (_current is not { } stuck)
                return true;
            (stuck.IsDone, stuck.IsAbandoned, _current) = (true, true, null);
            _thread = Begin();
            Monitor.PulseAll(_gate);
            return true;
        }
    }

    /// <summary>Ends the thread when its errands are done or given up; errands after this are done by who asks for them.</summary>
    public void Dispose()
    {
        Thread last;
        lock (_gate)
        {
            _isOver = true;
            Monitor.PulseAll(_gate);
            // One that hangs is given up in a while, and then it is another thread that ends.
            while (_current is not null || _waiting.Count > 0)
                Monitor.Wait(_gate);
            last = _thread;
        }

        last.Join();
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

    private bool Next()
    {
        Errand? errand;
        lock (_gate)
        {
            while (!_waiting.TryDequeue(out errand))
            {
                if (_isOver)
                    return false;
                Monitor.Wait(_gate);
            }

            _current = errand;
        }

        errand.Do();
        lock (_gate)
        {
            if (_current != errand)
                return false;
            _current = null;
            errand.IsDone = true;
            Monitor.PulseAll(_gate);
            return true;
        }
    }

    private sealed class Errand(Action action)
    {
        public bool IsDone { get; set; }

        public bool IsAbandoned { get; set; }

        public ExceptionDispatchInfo? Failure { get; private set; }

        public void Do()
        {
            try
            {
                action();
            }
            catch (Exception exception)
            {
                Failure = ExceptionDispatchInfo.Capture(exception);
            }
        }
    }
}
