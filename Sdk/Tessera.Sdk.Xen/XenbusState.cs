namespace Tessera.Sdk.Xen;

/// <summary>Where one end of a split device is in its life (public/io/xenbus.h), written as a decimal number to its "state" key.</summary>
public enum XenbusState
{
    /// <summary>No state, or none that can be read: the end is not there.</summary>
    Unknown = 0,

    /// <summary>It begins.</summary>
    Initialising = 1,

    /// <summary>It has said what it can do and waits for the other end.</summary>
    InitWait = 2,

    /// <summary>It has set up its rings and waits to be connected.</summary>
    Initialised = 3,

    /// <summary>It works.</summary>
    Connected = 4,

    /// <summary>It is coming to an end: after an error, or because the device is unplugged.</summary>
    Closing = 5,

    /// <summary>It is done.</summary>
    Closed = 6,

    /// <summary>It changes what it consists of, while it works.</summary>
    Reconfiguring = 7,

    /// <summary>It has changed what it consists of.</summary>
    Reconfigured = 8,
}
