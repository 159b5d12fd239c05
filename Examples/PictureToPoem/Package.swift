// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "picture-to-poem",
    // In a package of your own: .package(url: "…", from: "…"); README tells how libtorch is then found.
    dependencies: [.package(name: "Tihua", path: "../..")],
    targets: [
        .executableTarget(
            name: "picture-to-poem",
            dependencies: [.product(name: "Tihua", package: "Tihua"), .product(name: "TihuaPictures", package: "Tihua")],
            path: "Sources")
    ]
)
