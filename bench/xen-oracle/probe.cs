#:project ../../Kernel/Tessera.Guests/Tessera.Guests.csproj
#:property RunAnalyzers=false
#:property RestorePackagesWithLockFile=false

// Writes the kernel of the built-in guest `probe` to a file: dotnet run bench/xen-oracle/probe.cs FILE
File.WriteAllBytes(args[0], Tessera.Guests.BuiltinGuests.Build("probe"));
