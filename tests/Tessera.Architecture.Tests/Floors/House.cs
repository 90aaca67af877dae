namespace Tessera.Architecture.Tests.Floors;

/// <summary>
/// An assembly's namespaces as floors, the lowest first: each uses only those below it. A floor may hold several namespaces, separated by
/// commas, which do not use each other. A name covers the namespaces below it, but for those that have a floor of their own; the empty name is
/// the assembly's own namespace.
/// </summary>
internal sealed class House(string assembly, params string[] floors)
{
    private readonly Dictionary<string, int> _floorOf = floors
        .SelectMany((names, floor) => names.Split(',', StringSplitOptions.TrimEntries)
            .Select(name => (Space: name.Length == 0 ? assembly : $"{assembly}.{name}", floor)))
        .ToDictionary(room => room.Space, room => room.floor);

    /// <summary>The assembly's file, beside the tests.</summary>
    public string File { get; init; } = $"{assembly}.dll";

    public override string ToString() => assembly;

    /// <summary>What is wrong, the ways up first.</summary>
    public IReadOnlyList<string> Faults()
    {
        string path = Path.Combine(AppContext.BaseDirectory, File);
        IReadOnlyList<TypeName> types = [.. References.TypesOf(path)
            .Where(type => type.Namespace == assembly || type.Namespace.StartsWith($"{assembly}.", StringComparison.Ordinal))];
        HashSet<string> inhabited = [.. types.Select(type => RoomOf(type)).OfType<string>()];
        return
        [
            .. References.In(path)
                .Select(reference => (reference, From: RoomOf(reference.From), To: RoomOf(reference.To)))
                .Where(way => way.From is not null && way.To is not null && way.From != way.To && _floorOf[way.From] <= _floorOf[way.To])
                .GroupBy(way => (way.reference.From, way.reference.To))
                .Select(ways => Say(ways.First().reference))
                .Order(StringComparer.Ordinal),
            .. types.Where(type => RoomOf(type) is null).Select(type => $"{type} is on no floor"),
            .. _floorOf.Keys.Where(room => !inhabited.Contains(room)).Select(room => $"{room} has a floor and no types"),
        ];
    }

    private static string Say(Reference reference) =>
        $"{reference.From} uses {reference.To}, which is not below it{(reference.Member.Length == 0 ? "" : $", in {reference.Member}")}";

    private string? RoomOf(TypeName type)
    {
        string room = type.Namespace;
        while (!_floorOf.ContainsKey(room))
        {
            int end = room.LastIndexOf('.');
            if (end < 0 || room.Length <= assembly.Length)
                return null;
            room = room[..end];
        }

        // The assembly's own namespace has only the types that are directly in it.
        return room == assembly && type.Namespace != assembly ? null : room;
    }
}
